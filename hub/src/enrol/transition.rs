//! From which state a person may bring a device into which. Removal is final.

use crate::model::{DeviceState, listed_words};

/// What a person does with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Serve it.
    Approve,
    /// Do not let it in.
    Refuse,
    /// Serve it no longer, until somebody approves it again.
    Quarantine,
    /// Revoke its key, for good.
    Remove,
}

listed_words!(Act {
    Approve => "device.approve",
    Refuse => "device.refuse",
    Quarantine => "device.quarantine",
    Remove => "device.remove",
});

impl Act {
    /// The state a device is in afterwards.
    pub const fn target(self) -> DeviceState {
        match self {
            Self::Approve => DeviceState::Admitted,
            Self::Refuse => DeviceState::Refused,
            Self::Quarantine => DeviceState::Quarantined,
            Self::Remove => DeviceState::Removed,
        }
    }

    /// Whether a device in this state can be brought there. To bring it where it is already is no change, and allowed.
    pub const fn is_allowed(self, from: DeviceState) -> bool {
        match (self, from) {
            (Self::Remove, _) => true,
            (Self::Approve | Self::Refuse | Self::Quarantine, DeviceState::Removed) => false,
            (Self::Approve, DeviceState::Pending | DeviceState::Admitted | DeviceState::Refused | DeviceState::Quarantined) => {
                true
            }
            (Self::Refuse, DeviceState::Pending | DeviceState::Refused | DeviceState::Quarantined) => true,
            // A device that is served has a configuration and workloads: it is quarantined or removed, knowingly.
            (Self::Refuse, DeviceState::Admitted) => false,
            (Self::Quarantine, DeviceState::Admitted | DeviceState::Quarantined) => true,
            (Self::Quarantine, DeviceState::Pending | DeviceState::Refused) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_removed() {
        for act in Act::ALL {
            assert_eq!(act.is_allowed(DeviceState::Removed), *act == Act::Remove, "{act}");
            assert!(act.is_allowed(act.target()), "{act} twice");
        }
        assert!(DeviceState::ALL.iter().all(|from| Act::Remove.is_allowed(*from)));
    }
}
