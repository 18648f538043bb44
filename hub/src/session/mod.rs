//! Sessions: one call of one device, from the challenge to its end.
//!
//! [`Machine`] decides and does nothing; the driver does and decides nothing; [`Sessions`] is how the rest of the hub reaches a device that is
//! connected. Nobody gets past the challenge without a device's key, and a device that breaks the rules loses its own session only.

mod allowance;
mod directory;
mod driver;
mod event;
mod machine;
mod mailbox;
mod outbox;
mod proof;
mod registry;
mod reports;
mod service;
mod stored;
mod tunnels;

pub use directory::{Assigned, Directory, DirectoryFailed, Noted};
pub use event::{Action, Attempt, Decision, Dismissal, End, Event, Offer, Wanted};
pub use machine::{HEARTBEAT, Machine};
pub use proof::{Channel, ProofError, Proven};
pub use registry::{OpenError, Sessions};
pub use service::Devices;
pub use stored::Stored;

#[cfg(test)]
pub(crate) use mailbox::{Mailbox, Wish};
#[cfg(test)]
pub(crate) use registry::Entry;
