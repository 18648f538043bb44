//! One service's life: its phases and the steps between them. It knows nothing of the other services.

use std::sync::Arc;
use std::time::Instant;

use super::{Action, KILL_PATIENCE, Run};
use crate::services::spec::{KillScope, Kind, ServiceSpec};

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// For what it depends on.
    Waiting,
    /// Its process runs, readiness not reached.
    Starting { since: Instant, deadline: Instant },
    /// At work.
    Ready { since: Instant },
    /// Its process is to end.
    Stopping { since: Instant, step: Step, then: After },
    /// Failed; the next try comes.
    Backoff { until: Instant },
    /// The machine goes down.
    Stopped,
    /// A one-shot that succeeded.
    Done,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Asked to end.
    Asked { kill_at: Instant },
    /// Killed.
    Killed { give_up_at: Instant },
    /// Killed, and still there: nobody waits for it any more, but no second process is started beside it.
    Stuck,
}

/// What follows a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// A fresh start.
    Start,
    /// A failure: the next try after a pause.
    Retry,
    /// Nothing: the machine goes down.
    Stop,
    /// Nothing: the service is no longer wanted.
    Remove,
}

impl Phase {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Starting { deadline, .. } => Some(*deadline),
            Self::Stopping { step, .. } => step.deadline(),
            Self::Backoff { until } => Some(*until),
            Self::Waiting | Self::Ready { .. } | Self::Stopped | Self::Done => None,
        }
    }

    /// Runs and was not told to end.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Ready { .. })
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }

    pub(super) fn has_process(&self) -> bool {
        self.is_alive() || matches!(self, Self::Stopping { .. })
    }

    /// Has a process that an orderly stop still waits for.
    pub(super) fn holds_up_a_stop(&self) -> bool {
        self.has_process() && !matches!(self, Self::Stopping { step: Step::Stuck, .. })
    }
}

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) spec: Arc<ServiceSpec>,
    /// Takes the place of `spec` at the next start.
    pub(super) next: Option<Arc<ServiceSpec>>,
    pub(super) phase: Phase,
    /// Its last or current process.
    pub(super) run: Run,
    /// 0: none.
    pub(super) pid: u32,
    pub(super) starts: u32,
    pub(super) failures: u32,
    pub(super) last_exit: String,
}

impl Service {
    pub(super) fn new(spec: Arc<ServiceSpec>) -> Self {
        Self { spec, next: None, phase: Phase::Waiting, run: Run(0), pid: 0, starts: 0, failures: 0, last_exit: String::new() }
    }

    /// The spec it runs, or is about to run.
    pub(super) fn wanted(&self) -> &Arc<ServiceSpec> {
        self.next.as_ref().unwrap_or(&self.spec)
    }

    pub(super) fn needs(&self, name: &str) -> bool {
        self.spec.depends_on.iter().chain(&self.spec.after).any(|other| other == name)
    }

    /// Those that depend on it may start.
    pub(super) fn is_satisfied(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. } | Phase::Done)
    }

    /// Those that come after it may start.
    pub(super) fn was_tried(&self) -> bool {
        self.is_satisfied() || self.failures > 0
    }

    pub(super) fn report(&self, message: &str) -> Option<Action> {
        Some(Action::Report { name: self.spec.name.clone(), message: message.to_owned() })
    }

    pub(super) fn start(&mut self, now: Instant, run: Run) {
        self.run = run;
        self.pid = 0;
        self.starts = self.starts.saturating_add(1);
        self.phase = Phase::Starting { since: now, deadline: now + self.spec.start_deadline };
    }

    pub(super) fn make_ready(&mut self) {
        if let Phase::Starting { since, .. } = self.phase {
            self.phase = Phase::Ready { since };
        }
    }

    /// Asks the process to end; one that is already on its way down only learns what follows.
    pub(super) fn stop(&mut self, now: Instant, next: After, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Stopping { then, .. } => *then = next,
            Phase::Starting { since, .. } | Phase::Ready { since } => {
                let (since, kill_at) = (*since, now + self.spec.stop.grace);
                self.phase = Phase::Stopping { since, step: Step::Asked { kill_at }, then: next };
                actions.push(Action::Signal { run: self.run, signal: self.spec.stop.signal });
                actions.extend(self.report("stopping"));
            }
            Phase::Waiting | Phase::Backoff { .. } | Phase::Stopped | Phase::Done => {}
        }
    }

    /// The process is gone. Returns whether the service is no longer wanted.
    pub(super) fn end(&mut self, now: Instant, how: &str, success: bool, actions: &mut Vec<Action>) -> bool {
        self.pid = 0;
        how.clone_into(&mut self.last_exit);
        match self.phase {
            Phase::Starting { .. } if success && self.spec.kind == Kind::OneShot => {
                self.failures = 0;
                self.phase = Phase::Done;
                actions.extend(self.report("done"));
            }
            Phase::Starting { since, .. } | Phase::Ready { since } => {
                self.fail(now, since);
                actions.extend(self.report(&format!("failed ({how}), next try in {} ms", self.pause_ms(now))));
            }
            Phase::Stopping { then: After::Remove, .. } => return true,
            Phase::Stopping { then: After::Retry, since, .. } => {
                self.fail(now, since);
                actions.extend(self.report(&format!("ended ({how}), next try in {} ms", self.pause_ms(now))));
            }
            Phase::Stopping { then, .. } => {
                self.settle_into(then, now);
                actions.extend(self.report(&format!("stopped ({how})")));
            }
            Phase::Waiting | Phase::Backoff { .. } | Phase::Stopped | Phase::Done => {}
        }
        false
    }

    fn fail(&mut self, now: Instant, since: Instant) {
        if now.saturating_duration_since(since) >= self.spec.backoff.reset_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Backoff { until: now + self.spec.backoff.delay(self.failures) };
    }

    fn pause_ms(&self, now: Instant) -> u128 {
        match self.phase {
            Phase::Backoff { until } => until.saturating_duration_since(now).as_millis(),
            _ => 0,
        }
    }

    /// Without a process: enters what follows a stop.
    pub(super) fn settle_into(&mut self, then: After, now: Instant) {
        match then {
            After::Start => {
                self.spec = self.next.take().unwrap_or_else(|| Arc::clone(&self.spec));
                self.failures = 0;
                self.phase = Phase::Waiting;
            }
            After::Retry => self.fail(now, now),
            After::Stop | After::Remove => self.phase = Phase::Stopped,
        }
    }

    /// Acts on its own deadline if that has passed.
    pub(super) fn on_deadline(&mut self, now: Instant, going_down: bool, actions: &mut Vec<Action>) {
        if self.phase.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match self.phase {
            Phase::Starting { .. } => {
                let seconds = self.spec.start_deadline.as_secs();
                actions.extend(self.report(&format!("not ready after {seconds} s, starting it again")));
                self.stop(now, After::Retry, actions);
            }
            Phase::Stopping { since, step: Step::Asked { .. }, then } => {
                self.phase = Phase::Stopping { since, step: Step::Killed { give_up_at: now + KILL_PATIENCE }, then };
                self.kill(going_down, actions);
                actions.extend(self.report("killed: its grace time is over"));
            }
            Phase::Stopping { since, step: Step::Killed { .. }, then } => {
                self.phase = Phase::Stopping { since, step: Step::Stuck, then };
                actions.extend(self.report("does not end after SIGKILL: stuck in the kernel"));
            }
            Phase::Backoff { .. } if !going_down => self.phase = Phase::Waiting,
            Phase::Stopping { step: Step::Stuck, .. }
            | Phase::Backoff { .. }
            | Phase::Waiting
            | Phase::Ready { .. }
            | Phase::Stopped
            | Phase::Done => {}
        }
    }

    fn kill(&self, going_down: bool, actions: &mut Vec<Action>) {
        actions.push(Action::Signal { run: self.run, signal: libc::SIGKILL });
        if going_down || self.spec.stop.scope == KillScope::Cgroup {
            actions.push(Action::KillCgroup { name: self.spec.name.clone() });
        }
    }
}
