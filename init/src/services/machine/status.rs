//! What the machine shows of a service.

use std::time::Instant;

use super::service::{Phase, Service, Step};
use crate::services::spec::{Kind, Readiness};

/// The named states a service can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// For its dependencies.
    Waiting,
    /// Its process runs, readiness not reached.
    Starting,
    /// At work.
    Ready,
    /// Failed; the next try comes.
    Backoff,
    /// Its process is to end.
    Stopping,
    /// The machine goes down.
    Stopped,
    /// A one-shot that succeeded.
    Done,
    /// Its process cannot be ended.
    Failed,
}

impl ServiceState {
    /// The value on the wire.
    pub fn to_wire(self) -> api::v1::ServiceState {
        match self {
            Self::Waiting => api::v1::ServiceState::Waiting,
            Self::Starting => api::v1::ServiceState::Starting,
            Self::Ready => api::v1::ServiceState::Ready,
            Self::Backoff => api::v1::ServiceState::Backoff,
            Self::Stopping => api::v1::ServiceState::Stopping,
            Self::Stopped => api::v1::ServiceState::Stopped,
            Self::Done => api::v1::ServiceState::Done,
            Self::Failed => api::v1::ServiceState::Failed,
        }
    }
}

/// One service, as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ServiceState,
    /// 0: no process.
    pub pid: u32,
    /// Starts after the first.
    pub restarts: u32,
    /// What it waits for; empty: nothing.
    pub waiting_for: String,
    /// How its last process ended; empty: none has.
    pub last_exit: String,
    /// When its process started.
    pub since: Option<Instant>,
    /// When it is tried again.
    pub retry_at: Option<Instant>,
    /// What it depends on.
    pub depends_on: Vec<String>,
}

impl ServiceStatus {
    /// Ready, or done when it runs once.
    pub fn is_up(&self) -> bool {
        matches!(self.state, ServiceState::Ready | ServiceState::Done)
    }

    /// What is wrong with it, in one line; none: nothing is.
    pub fn error(&self) -> Option<String> {
        match self.state {
            ServiceState::Backoff => Some(format!("{}; tried again ({} restarts so far)", self.last_exit, self.restarts)),
            ServiceState::Failed => Some("its process does not end after SIGKILL: reboot the device".to_owned()),
            ServiceState::Waiting
            | ServiceState::Starting
            | ServiceState::Ready
            | ServiceState::Stopping
            | ServiceState::Stopped
            | ServiceState::Done => None,
        }
    }
}

pub(super) fn status(service: &Service, unmet: &[String]) -> ServiceStatus {
    let (state, since, retry_at) = match &service.phase {
        Phase::Waiting => (ServiceState::Waiting, None, None),
        Phase::Starting { since, .. } => (ServiceState::Starting, Some(*since), None),
        Phase::Ready { since } => (ServiceState::Ready, Some(*since), None),
        Phase::Stopping { since, step: Step::Stuck, .. } => (ServiceState::Failed, Some(*since), None),
        Phase::Stopping { since, .. } => (ServiceState::Stopping, Some(*since), None),
        Phase::Backoff { until } => (ServiceState::Backoff, None, Some(*until)),
        Phase::Stopped => (ServiceState::Stopped, None, None),
        Phase::Done => (ServiceState::Done, None, None),
    };
    ServiceStatus {
        name: service.spec.name.clone(),
        state,
        pid: service.pid,
        restarts: service.starts.saturating_sub(1),
        waiting_for: waiting_for(service, state, unmet),
        last_exit: service.last_exit.clone(),
        since,
        retry_at,
        depends_on: service.spec.depends_on.clone(),
    }
}

fn waiting_for(service: &Service, state: ServiceState, unmet: &[String]) -> String {
    match (state, service.spec.kind, &service.spec.readiness) {
        (ServiceState::Waiting, _, _) => unmet.join(", "),
        (ServiceState::Starting, Kind::OneShot, _) => "its end".to_owned(),
        (ServiceState::Starting, Kind::Daemon, Readiness::UnixSocket(path)) => format!("its socket {}", path.display()),
        (ServiceState::Starting, Kind::Daemon, Readiness::Notify) => "its notification".to_owned(),
        (ServiceState::Starting, Kind::Daemon, Readiness::Reported) => "its report".to_owned(),
        _ => String::new(),
    }
}
