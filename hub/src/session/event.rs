//! What happens to a session and what it has done about it: the words of its machine. Data only.

use api::hub::v1::{Answer, ConfigOutcome, Heartbeat, Hello, device_message, hub_message};

use super::proof::Proven;

/// What is to be asked of a device that proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its join token.
    pub join_token: bool,
    /// Its inventory.
    pub inventory: bool,
}

/// What a device came with; nothing of it is trusted but the key.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The proven key.
    pub proven: Proven,
    /// The greeting.
    pub hello: Hello,
    /// What it said when it was asked; none: it was not asked.
    pub answer: Option<Answer>,
}

/// What becomes of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Somebody has to approve it.
    Pending {
        /// For a person.
        message: String,
        /// When to come again.
        retry_seconds: u32,
    },
    /// It is not served.
    Refused {
        /// Stable code.
        code: String,
        /// For a person.
        message: String,
        /// When to come again.
        retry_seconds: u32,
    },
    /// It is served.
    Admitted {
        /// What the hub calls it.
        name: String,
    },
}

/// A configuration for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// SHA-256 of the file.
    pub digest: String,
    /// The file.
    pub config: Vec<u8>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The device said something.
    Device(Box<device_message::Kind>),
    /// The store knows what to ask.
    Looked(Wanted),
    /// The store decided.
    Decided(Decision),
    /// The store failed.
    StoreFailed,
    /// A configuration is to be offered.
    Offer(Offer),
    /// An operator asks for a tunnel; the number is his, to tell answers apart.
    Open {
        /// Of the request.
        request: u64,
        /// The operator, for the device's log.
        who: String,
    },
    /// An operator sends; at most what [`super::Machine::sendable`] says.
    FromOperator {
        /// The tunnel.
        id: u32,
        /// What.
        data: Vec<u8>,
    },
    /// An operator took this much of what the device sent.
    Taken {
        /// The tunnel.
        id: u32,
        /// How much.
        bytes: u32,
    },
    /// An operator left.
    Left {
        /// The tunnel.
        id: u32,
        /// Why; empty: he was done.
        reason: String,
    },
    /// The session is to end: the device was removed, called again, or the hub stops.
    Dismiss(Dismissal),
    /// Time passed.
    Tick,
}

/// Why a session is ended from this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dismissal {
    /// The device is no longer served.
    Verdict {
        /// Stable code.
        code: String,
        /// For a person.
        message: String,
        /// When to come again.
        retry_seconds: u32,
    },
    /// It called again; the later call counts.
    Superseded,
    /// The hub stops.
    Stopping,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to the device.
    Send(hub_message::Kind),
    /// Find out what to ask the device.
    Look {
        /// The proven key.
        proven: Proven,
        /// SHA-256 of the inventory it would answer with.
        inventory_digest: Vec<u8>,
    },
    /// Decide about the device.
    Decide(Box<Attempt>),
    /// It is admitted: make it known, and look what is assigned to it.
    Admitted(Proven),
    /// Write down what it reports.
    Heard(Box<Heartbeat>),
    /// Write down what became of an offer.
    Outcome(ConfigOutcome),
    /// The device could not judge an offer, which says nothing about it; it is offered again.
    Postponed(ConfigOutcome),
    /// Look again what is assigned to the device, and whether it is still served.
    LookAgain,
    /// Make the session known once more: that may have failed.
    NoteAgain,
    /// Write down what happened on it.
    Happened(Vec<api::v1::Event>),
    /// The tunnel with this request has this number, and is not open yet.
    Opening {
        /// The operator's number.
        request: u64,
        /// The tunnel's.
        id: u32,
    },
    /// There is no tunnel for this request.
    NotOpened {
        /// The operator's number.
        request: u64,
        /// Why.
        reason: String,
    },
    /// The tunnel is open.
    Opened {
        /// The tunnel.
        id: u32,
    },
    /// The device sent this to an operator.
    ToOperator {
        /// The tunnel.
        id: u32,
        /// What.
        data: Vec<u8>,
    },
    /// The tunnel is over.
    Closed {
        /// The tunnel.
        id: u32,
        /// Why; empty: it ended as it should.
        reason: String,
    },
    /// The session is over; nothing follows.
    End(End),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The device was told what becomes of it.
    #[error("the device was told: {code}")]
    Told {
        /// `pending` or the code of the refusal.
        code: String,
    },
    /// It said something that has no place there.
    #[error("the device broke the protocol: {0}")]
    Broken(String),
    /// It was silent for too long.
    #[error("the device was silent while {0} was due")]
    Silent(&'static str),
    /// The store failed.
    #[error("the database failed")]
    Store,
    /// From this side.
    #[error("ended by the hub: {0}")]
    Dismissed(String),
}
