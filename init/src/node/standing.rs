//! How it stands with the hub, as apid reports it and the console and the API show it.
//!
//! The words are often the hub's own, so they are cut and cleaned before anybody sees them. Nothing is decided by them.

use std::fmt;

/// Characters of a message that are shown.
const MESSAGE: usize = 160;

/// Where a device stands with its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubState {
    /// A try began.
    Calling,
    /// No session could be had.
    Unreachable,
    /// The hub waits for somebody's approval.
    Pending,
    /// The hub refused the device.
    Refused,
    /// A session runs.
    Admitted,
}

impl HubState {
    /// Reads the value on the wire; none: it says nothing.
    pub fn from_wire(state: api::internal::HubState) -> Option<Self> {
        match state {
            api::internal::HubState::Unspecified => None,
            api::internal::HubState::Calling => Some(Self::Calling),
            api::internal::HubState::Unreachable => Some(Self::Unreachable),
            api::internal::HubState::Pending => Some(Self::Pending),
            api::internal::HubState::Refused => Some(Self::Refused),
            api::internal::HubState::Admitted => Some(Self::Admitted),
        }
    }
}

/// One report. Displays as one line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubStanding {
    state: HubState,
    address: String,
    message: String,
}

impl HubStanding {
    /// Takes a report as it came.
    pub fn new(state: HubState, address: &str, message: &str) -> Self {
        Self { state, address: plain(address), message: plain(message) }
    }

    /// Where the device stands.
    pub fn state(&self) -> HubState {
        self.state
    }

    /// Of which hub this tells.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether this is to be shown in place of what was known before. A try that begins says less than how the last one ended, unless
    /// that was a session: it is over.
    pub fn replaces(&self, before: Option<&Self>) -> bool {
        match (self.state, before.map(|before| before.state)) {
            (HubState::Calling, Some(HubState::Unreachable | HubState::Pending | HubState::Refused)) => false,
            (HubState::Calling, None | Some(HubState::Calling | HubState::Admitted)) => true,
            (HubState::Unreachable | HubState::Pending | HubState::Refused | HubState::Admitted, _) => true,
        }
    }
}

impl fmt::Display for HubStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match self.state {
            HubState::Calling => write!(f, "calling {address}"),
            HubState::Unreachable => write!(f, "no session with {address}"),
            HubState::Pending => write!(f, "waiting for approval at {address}"),
            HubState::Refused => write!(f, "refused by {address}"),
            HubState::Admitted => write!(f, "connected to {address}"),
        }?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// One line of what can be printed, cut to what a person reads.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.chars().take(MESSAGE).map(shown).collect();
    if text.chars().nth(MESSAGE).is_some() {
        cut.push('…');
    }
    cut.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_a_line_for_a_person() {
        for (state, message, expected) in [
            (HubState::Calling, "", "calling https://h"),
            (HubState::Unreachable, "the name is unknown", "no session with https://h: the name is unknown"),
            (HubState::Pending, "", "waiting for approval at https://h"),
            (HubState::Refused, "token used", "refused by https://h: token used"),
            (HubState::Admitted, "", "connected to https://h"),
        ] {
            assert_eq!(HubStanding::new(state, "https://h", message).to_string(), expected);
        }
    }

    #[test]
    fn a_hub_can_neither_flood_a_line_nor_steer_a_terminal() {
        let line = HubStanding::new(HubState::Refused, "https://h", &format!("\x1b[2J\n{}", "x".repeat(1 << 20))).to_string();
        assert!(!line.contains(|c: char| c.is_control()) && line.chars().count() < 200 && line.ends_with('…'), "{line}");
    }

    #[test]
    fn a_try_that_begins_does_not_hide_how_the_last_one_ended() {
        let at = |state| HubStanding::new(state, "https://h", "");
        let calling = at(HubState::Calling);
        assert!(calling.replaces(None) && calling.replaces(Some(&at(HubState::Admitted))));
        assert!(!calling.replaces(Some(&at(HubState::Pending))) && !calling.replaces(Some(&at(HubState::Unreachable))));
        assert!(at(HubState::Admitted).replaces(Some(&at(HubState::Refused))));
    }
}
