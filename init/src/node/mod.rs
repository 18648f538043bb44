//! What the parts of init share: events, status, boot times, and the handles to configuration and power.
//!
//! Everything here is cheap to clone and does no I/O; the tasks behind the handles live in `config` and `power`.

mod events;
mod handles;
mod phases;
mod release;
mod standing;
mod status;

pub use events::{Event, EventKind, EventLog};
pub use handles::{
    ApidSettings, ApidSettingsWatch, Applied, ApplyError, ApplyRequest, ConfigHandle, InForce, PowerHandle, PowerKind,
    PowerRequest, config_channel, power_channel,
};
pub use phases::{BootTimes, Phase, PhaseRecord, PhaseState, Times, boottime_usec};
pub use release::Release;
pub use standing::{HubStanding, HubState};
pub use status::{Clock, Mode, NodeStatus, RunsFrom, StatusBoard};

/// The three things nearly every part of init writes to.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// What happened.
    pub events: EventLog,
    /// What is so now.
    pub status: StatusBoard,
    /// When each boot phase began and ended.
    pub times: BootTimes,
}

impl Node {
    /// Begins a phase: its start time, the status line and an event.
    pub fn begin(&self, phase: Phase) {
        self.enter(phase, PhaseState::Running, "started");
    }

    /// Ends a phase well.
    pub fn done(&self, phase: Phase) {
        self.enter(phase, PhaseState::Done, "done");
    }

    /// Says what a phase waits for, in one line for a person.
    pub fn waiting(&self, phase: Phase, what: &str) {
        let state = PhaseState::Waiting(what.to_owned());
        if self.times.get(phase).state != state {
            self.enter(phase, state, what);
        }
    }

    /// Ends a phase badly: the named state in which the device stays until somebody acts.
    pub fn failed(&self, phase: Phase, why: &str) {
        tracing::error!(phase = phase.name(), why, "a boot phase failed");
        self.enter(phase, PhaseState::Failed(why.to_owned()), why);
    }

    fn enter(&self, phase: Phase, state: PhaseState, message: &str) {
        let error = match &state {
            PhaseState::Failed(why) => Some(why.clone()),
            PhaseState::Pending | PhaseState::Running | PhaseState::Waiting(_) | PhaseState::Done => None,
        };
        self.times.set(phase, state, boottime_usec());
        let (current, state) = self.times.current();
        self.status.update(|status| {
            status.phase = current;
            status.phase_state = state;
            status.set_error(&format!("phase {}", phase.name()), error);
        });
        self.events.record(EventKind::Phase, phase.name(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_phase_is_an_error_until_it_succeeds() {
        let node = Node::default();
        node.begin(Phase::Devices);
        node.failed(Phase::Devices, "no boot disk");
        let status = node.status.get();
        assert_eq!(status.phase, Phase::Devices);
        assert_eq!(status.error_lines(), ["phase devices: no boot disk"]);
        node.done(Phase::Devices);
        assert!(node.status.get().error_lines().is_empty());
    }

    #[test]
    fn waiting_twice_for_the_same_thing_is_one_event() {
        let node = Node::default();
        node.waiting(Phase::Config, "a signed configuration");
        node.waiting(Phase::Config, "a signed configuration");
        assert_eq!(node.events.tail(0).len(), 1);
    }
}
