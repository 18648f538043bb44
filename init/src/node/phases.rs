//! The boot phases and when each began, waited, ended or failed. Time is CLOCK_BOOTTIME in microseconds.
//!
//! It records; what a phase does stands in `boot`.

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// A boot phase, in the order in which the device needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Kernel file systems, logging, loopback.
    Early,
    /// Modules and the boot disk.
    Devices,
    /// SEED, STATE, identity, clock floor.
    State,
    /// A configuration in force.
    Config,
    /// A system in RAM put on the disk that the configuration names.
    Install,
    /// Links and addresses.
    Network,
    /// apid answers.
    Api,
    /// The runtime image and DATA.
    Volumes,
    /// containerd, images, k3s.
    Services,
    /// Every check passed.
    Healthy,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 10] = [
        Self::Early,
        Self::Devices,
        Self::State,
        Self::Config,
        Self::Install,
        Self::Network,
        Self::Api,
        Self::Volumes,
        Self::Services,
        Self::Healthy,
    ];

    /// Its name on the console and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Devices => "devices",
            Self::State => "state",
            Self::Config => "config",
            Self::Install => "install",
            Self::Network => "network",
            Self::Api => "api",
            Self::Volumes => "volumes",
            Self::Services => "services",
            Self::Healthy => "healthy",
        }
    }
}

/// Where a phase stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PhaseState {
    /// Not begun.
    #[default]
    Pending,
    /// At work.
    Running,
    /// Blocked on what the text names.
    Waiting(String),
    /// Ended well.
    Done,
    /// Ended badly; the text says why.
    Failed(String),
}

impl PhaseState {
    /// The word on the console.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting(_) => "waiting",
            Self::Done => "done",
            Self::Failed(_) => "failed",
        }
    }

    /// The value on the wire.
    pub fn to_wire(&self) -> api::v1::PhaseState {
        match self {
            Self::Pending => api::v1::PhaseState::Pending,
            Self::Running => api::v1::PhaseState::Running,
            Self::Waiting(_) => api::v1::PhaseState::Waiting,
            Self::Done => api::v1::PhaseState::Done,
            Self::Failed(_) => api::v1::PhaseState::Failed,
        }
    }
}

/// One phase's times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhaseRecord {
    /// When it began; none: not yet.
    pub start_usec: Option<u64>,
    /// When it ended, well or badly.
    pub end_usec: Option<u64>,
    /// Where it stands.
    pub state: PhaseState,
}

/// All that is measured about this boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// When PID 1 began.
    pub init_start_usec: u64,
    /// When apid first reported its listener.
    pub api_ready_usec: Option<u64>,
    /// Time from the first DISCOVER to the first lease, when apid had to wait for it.
    pub dhcp_wait_usec: u64,
    records: [PhaseRecord; Phase::ALL.len()],
}

impl Times {
    /// One phase's times.
    pub fn get(&self, phase: Phase) -> &PhaseRecord {
        &self.records[phase as usize]
    }

    /// The earliest phase that is at work, waits or has failed; when there is none, the last that is done.
    pub fn current(&self) -> (Phase, PhaseState) {
        let busy = |phase: &Phase| !matches!(self.get(*phase).state, PhaseState::Pending | PhaseState::Done);
        let done = |phase: &Phase| self.get(*phase).state == PhaseState::Done;
        let phase = Phase::ALL.into_iter().find(busy).or_else(|| Phase::ALL.into_iter().rev().find(done)).unwrap_or(Phase::Early);
        (phase, self.get(phase).state.clone())
    }
}

/// The shared record. Clones share it; [`BootTimes::subscribe`] wakes at each change.
#[derive(Debug, Clone)]
pub struct BootTimes(std::sync::Arc<watch::Sender<Times>>);

impl Default for BootTimes {
    fn default() -> Self {
        let times = Times { init_start_usec: boottime_usec(), ..Times::default() };
        Self(std::sync::Arc::new(watch::Sender::new(times)))
    }
}

impl BootTimes {
    /// A copy of all times.
    pub fn snapshot(&self) -> Times {
        self.0.borrow().clone()
    }

    /// One phase's times.
    pub fn get(&self, phase: Phase) -> PhaseRecord {
        self.0.borrow().get(phase).clone()
    }

    /// See [`Times::current`].
    pub fn current(&self) -> (Phase, PhaseState) {
        self.0.borrow().current()
    }

    /// Wakes whenever a time or state changes.
    pub fn subscribe(&self) -> watch::Receiver<Times> {
        self.0.subscribe()
    }

    /// Records that apid's listener is up; only the first report counts.
    pub fn api_ready(&self) {
        let now = boottime_usec();
        self.0.send_modify(|times| {
            times.api_ready_usec.get_or_insert(now);
        });
    }

    /// Records how long the first lease took; only the first report counts.
    pub fn dhcp_wait(&self, usec: u64) {
        self.0.send_modify(|times| {
            if times.dhcp_wait_usec == 0 {
                times.dhcp_wait_usec = usec;
            }
        });
    }

    pub(super) fn set(&self, phase: Phase, state: PhaseState, now: u64) {
        self.0.send_modify(|times| {
            let record = &mut times.records[phase as usize];
            record.start_usec.get_or_insert(now);
            record.end_usec = matches!(state, PhaseState::Done | PhaseState::Failed(_)).then_some(now);
            record.state = state;
        });
    }
}

/// CLOCK_BOOTTIME in microseconds.
pub fn boottime_usec() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel counts from power-on, so neither part is negative.
    (now.tv_sec.unsigned_abs() * 1_000_000) + now.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_phase_is_the_earliest_that_is_not_finished() {
        let times = BootTimes::default();
        assert_eq!(times.current().0, Phase::Early);
        times.set(Phase::Early, PhaseState::Done, 1);
        assert_eq!(times.current(), (Phase::Early, PhaseState::Done));
        times.set(Phase::Config, PhaseState::Waiting("x".into()), 2);
        times.set(Phase::Api, PhaseState::Running, 3);
        assert_eq!(times.current().0, Phase::Config);
        times.set(Phase::Config, PhaseState::Done, 4);
        assert_eq!(times.current().0, Phase::Api);
    }

    #[test]
    fn a_phase_tried_again_keeps_its_first_start() {
        let times = BootTimes::default();
        times.set(Phase::Volumes, PhaseState::Running, 5);
        times.set(Phase::Volumes, PhaseState::Failed("no disk".into()), 7);
        assert_eq!(times.get(Phase::Volumes).end_usec, Some(7));
        times.set(Phase::Volumes, PhaseState::Running, 9);
        assert_eq!(times.get(Phase::Volumes).start_usec, Some(5));
        assert_eq!(times.get(Phase::Volumes).end_usec, None);
    }

    #[test]
    fn only_the_first_report_of_the_listener_counts() {
        let times = BootTimes::default();
        times.api_ready();
        let first = times.snapshot().api_ready_usec;
        times.api_ready();
        assert_eq!(times.snapshot().api_ready_usec, first);
    }
}
