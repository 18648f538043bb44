//! What a device is told, and how soon it may ask again. The device bounds every hint by itself.

use std::time::Duration;

use crate::model::{DeviceState, Time};
use crate::tokens::TokenError;

/// Seconds between heartbeats of an admitted device.
const HEARTBEAT_SECONDS: u32 = 150;
/// Seconds until a device whose token does not count may ask again.
const TOKEN_SECONDS: u32 = 600;
/// Seconds until a refused or quarantined device may ask again.
const REFUSED_SECONDS: u32 = 600;
/// Seconds until a removed device may ask again.
const REMOVED_SECONDS: u32 = 3600;
/// Seconds until a device for which there was no room may ask again.
const BUSY_SECONDS: u32 = 300;

/// What a device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Wait.
    Pending {
        /// One line for a person.
        message: String,
        /// A hint.
        retry_seconds: u32,
    },
    /// No.
    Refused {
        /// A stable code of the protocol.
        code: &'static str,
        /// One line for a person.
        message: String,
        /// A hint.
        retry_seconds: u32,
    },
    /// Yes.
    Admitted {
        /// A hint.
        heartbeat_seconds: u32,
        /// What the hub calls it.
        name: String,
    },
}

impl Verdict {
    /// Its word in logs and figures: `pending`, `admitted`, or the code of the refusal.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Refused { code, .. } => code,
            Self::Admitted { .. } => "admitted",
        }
    }

    pub(super) fn admitted(name: Option<&str>) -> Self {
        Self::Admitted { heartbeat_seconds: HEARTBEAT_SECONDS, name: name.unwrap_or_default().to_owned() }
    }

    /// A device that waits asks often while somebody may stand beside it, and seldom after a day.
    pub(super) fn pending(message: String, first_seen: Time, now: Time) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        let waited = now.since(first_seen);
        let retry_seconds = match waited {
            _ if waited < 10 * MINUTE => 15,
            _ if waited < 60 * MINUTE => 30,
            _ if waited < 24 * 60 * MINUTE => 60,
            _ => 120,
        };
        Self::Pending { message, retry_seconds }
    }

    pub(super) fn busy() -> Self {
        let message = "too many devices wait for approval at this hub".to_owned();
        Self::Refused { code: "busy", message, retry_seconds: BUSY_SECONDS }
    }
}

impl From<TokenError> for Verdict {
    fn from(error: TokenError) -> Self {
        Self::Refused { code: error.code(), message: error.to_string(), retry_seconds: TOKEN_SECONDS }
    }
}

/// What a device in this state is told, if it is refused.
pub fn refusal_of(state: DeviceState, reason: &str) -> Option<Verdict> {
    let refused = |code, message: String, retry_seconds| Some(Verdict::Refused { code, message, retry_seconds });
    let with_reason = |text: &str| if reason.is_empty() { text.to_owned() } else { format!("{text}: {reason}") };
    match state {
        DeviceState::Pending | DeviceState::Admitted => None,
        DeviceState::Refused => refused("refused", with_reason("this device was refused"), REFUSED_SECONDS),
        DeviceState::Quarantined => refused("quarantined", with_reason("this device is quarantined"), REFUSED_SECONDS),
        DeviceState::Removed => refused(
            "removed",
            with_reason("this device was removed for good; flash it again to make it a new one"),
            REMOVED_SECONDS,
        ),
    }
}
