//! The service supervisor as a state machine without I/O: events in, actions out, and the one deadline to wait for.
//!
//! It decides everything (who starts, who stops, when, in which order) and touches nothing: no clock, no process, no file.
//! Promises kept for every sequence of events: a service never has two processes; it starts only after what it depends on is ready
//! and what it comes after was tried; every stop ends within its grace time plus [`KILL_PATIENCE`]; when all is stopped, dependents
//! stop before what they depend on.

mod service;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::service::{After, Phase, Service, Step};
pub use self::status::{ServiceState, ServiceStatus};
use super::spec::{KillScope, Kind, Readiness, ServiceSpec};

/// How long a killed process may take to vanish until the machine stops waiting for it (a process stuck in the kernel never does).
pub const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Counts every process ever started: names one process for good, as pids do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Run(pub u64);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    let names = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    names.into_iter().find(|(number, _)| *number == signal).map(|(_, name)| name)
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// These services, and no others, are wanted.
    Ensure(Vec<ServiceSpec>),
    /// The answer to [`Action::Spawn`].
    Spawned {
        /// Which.
        run: Run,
        /// Its process.
        pid: u32,
    },
    /// The other answer to [`Action::Spawn`].
    SpawnFailed {
        /// Which.
        run: Run,
        /// Why.
        error: String,
    },
    /// A process is ready.
    Ready(Run),
    /// A process ended.
    Exited(Run, Exit),
    /// Somebody wants this service started anew.
    Restart(String),
    /// The machine goes down: stop everything, start nothing more.
    StopAll,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a process; answer with [`Event::Spawned`] or [`Event::SpawnFailed`] before any other event.
    Spawn {
        /// Its name from now on.
        run: Run,
        /// What to start.
        spec: Arc<ServiceSpec>,
    },
    /// Send a signal to a process.
    Signal {
        /// Which.
        run: Run,
        /// The signal's number.
        signal: i32,
    },
    /// SIGKILL everything in the service's cgroup.
    KillCgroup {
        /// Which service.
        name: String,
    },
    /// The service is no more.
    Forget {
        /// Which service.
        name: String,
    },
    /// Tell people.
    Report {
        /// Which service.
        name: String,
        /// One line.
        message: String,
    },
}

/// The machine.
#[derive(Debug, Default)]
pub struct Machine {
    services: BTreeMap<String, Service>,
    stopping: bool,
    last_run: u64,
    actions: Vec<Action>,
}

impl Machine {
    /// Takes one event and says what to do, in order.
    pub fn on_event(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Ensure(specs) => self.ensure(now, specs),
            Event::Spawned { run, pid } => self.spawned(run, pid),
            Event::SpawnFailed { run, error } => self.ended(now, run, &format!("cannot start: {error}"), false),
            Event::Ready(run) => self.became_ready(now, run),
            Event::Exited(run, exit) => self.ended(now, run, &exit.to_string(), exit == Exit::Code(0)),
            Event::Restart(name) => self.restart(now, &name),
            Event::StopAll => self.stopping = true,
            Event::Tick => {}
        }
        self.settle(now);
        std::mem::take(&mut self.actions)
    }

    /// When to send [`Event::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.services.values().filter_map(|service| service.phase.deadline()).min()
    }

    /// After [`Event::StopAll`]: nothing is left to wait for.
    pub fn all_stopped(&self) -> bool {
        self.stopping && self.services.values().all(|service| !service.phase.holds_up_a_stop())
    }

    /// Everything that the API and the console show.
    pub fn status(&self) -> Vec<ServiceStatus> {
        self.services.values().map(|service| status::status(service, &self.unmet(service))).collect()
    }

    fn ensure(&mut self, now: Instant, specs: Vec<ServiceSpec>) {
        if self.stopping {
            return;
        }
        let mut gone: Vec<String> = self.services.keys().cloned().collect();
        for spec in specs {
            gone.retain(|name| *name != spec.name);
            self.ensure_one(now, Arc::new(spec));
        }
        for name in gone {
            self.stop_service(now, &name, After::Remove);
        }
    }

    fn ensure_one(&mut self, now: Instant, spec: Arc<ServiceSpec>) {
        let Some(service) = self.services.get_mut(&spec.name) else {
            self.services.insert(spec.name.clone(), Service::new(spec));
            return;
        };
        let leaving = matches!(service.phase, Phase::Stopping { then: After::Remove, .. });
        if service.wanted() == &spec && !leaving {
            return;
        }
        let name = spec.name.clone();
        service.next = Some(spec);
        self.stop_service(now, &name, After::Start);
    }

    fn restart(&mut self, now: Instant, name: &str) {
        if !self.stopping {
            self.stop_service(now, name, After::Start);
        }
    }

    fn spawned(&mut self, run: Run, pid: u32) {
        if let Some(service) = self.services.values_mut().find(|service| service.run == run) {
            service.pid = pid;
            if service.phase.is_starting() && service.spec.readiness == Readiness::Running && service.spec.kind == Kind::Daemon {
                service.make_ready();
            }
            self.actions.extend(service.report(&format!("started as process {pid}")));
        }
    }

    fn became_ready(&mut self, now: Instant, run: Run) {
        let Some(service) = self.services.values_mut().find(|service| service.run == run) else { return };
        if let Phase::Starting { since, .. } = service.phase
            && service.spec.kind == Kind::Daemon
        {
            service.make_ready();
            let took = now.saturating_duration_since(since).as_millis();
            self.actions.extend(service.report(&format!("ready after {took} ms")));
        }
    }

    fn ended(&mut self, now: Instant, run: Run, how: &str, success: bool) {
        let stopping = self.stopping;
        let Some(service) = self.services.values_mut().find(|service| service.run == run && service.phase.has_process()) else {
            return;
        };
        let name = service.spec.name.clone();
        if stopping || service.spec.stop.scope == KillScope::Cgroup {
            self.actions.push(Action::KillCgroup { name: name.clone() });
        }
        let removed = service.end(now, how, success, &mut self.actions);
        if removed {
            self.services.remove(&name);
            self.actions.push(Action::Forget { name });
        }
    }

    /// Takes a service out of its current life, into what `then` says: at once when it has no process.
    fn stop_service(&mut self, now: Instant, name: &str, then: After) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.phase.has_process() {
            service.stop(now, then, &mut self.actions);
        } else if then == After::Remove {
            self.services.remove(name);
            self.actions.push(Action::Forget { name: name.to_owned() });
        } else {
            service.settle_into(then, now);
        }
    }

    /// Acts on deadlines that passed, then stops or starts whatever may be stopped or started now.
    fn settle(&mut self, now: Instant) {
        for service in self.services.values_mut() {
            service.on_deadline(now, self.stopping, &mut self.actions);
        }
        if self.stopping { self.stop_what_may_stop(now) } else { self.start_what_may_start(now) }
    }

    fn start_what_may_start(&mut self, now: Instant) {
        let ready: Vec<String> = self
            .services
            .values()
            .filter(|service| matches!(service.phase, Phase::Waiting) && self.unmet(service).is_empty())
            .map(|service| service.spec.name.clone())
            .collect();
        for name in ready {
            self.last_run += 1;
            let run = Run(self.last_run);
            let service = self.services.get_mut(&name).expect("its name was just listed");
            service.start(now, run);
            self.actions.push(Action::Spawn { run, spec: Arc::clone(&service.spec) });
        }
    }

    fn stop_what_may_stop(&mut self, now: Instant) {
        let mut free = Vec::new();
        for (name, service) in &self.services {
            let needed = self.services.values().any(|other| other.phase.holds_up_a_stop() && other.needs(name));
            if !(service.phase.is_alive() && needed) {
                free.push(name.clone());
            }
        }
        for name in free {
            let service = self.services.get_mut(&name).expect("its name was just listed");
            match service.phase {
                Phase::Starting { .. } | Phase::Ready { .. } => service.stop(now, After::Stop, &mut self.actions),
                Phase::Stopping { ref mut then, .. } => *then = After::Stop,
                Phase::Waiting | Phase::Backoff { .. } => service.phase = Phase::Stopped,
                Phase::Stopped | Phase::Done => {}
            }
        }
    }

    /// What keeps a service from starting, one phrase each.
    fn unmet(&self, service: &Service) -> Vec<String> {
        let missing = |name: &String, met: fn(&Service) -> bool| match self.services.get(name) {
            Some(other) if met(other) => None,
            Some(_) => Some(name.clone()),
            None => Some(format!("{name}, which is not configured")),
        };
        let depends = service.spec.depends_on.iter().filter_map(|name| missing(name, Service::is_satisfied));
        let after = service.spec.after.iter().filter(|name| self.services.contains_key(*name));
        depends.chain(after.filter_map(|name| missing(name, Service::was_tried))).collect()
    }
}

impl Step {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Asked { kill_at } => Some(kill_at),
            Self::Killed { give_up_at } => Some(give_up_at),
            Self::Stuck => None,
        }
    }
}
