//! The supervisor's task and the handle to it: waits for commands, ended processes, readiness and the machine's one deadline, and
//! carries the machine's actions out. It decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::cgroup::{Cgroups, Usage};
use super::machine::{Action, Event, Machine, Run, ServiceStatus};
use super::output::{LogRing, Stream, capture};
use super::reap::reap;
use super::spawn::spawn;
use super::spec::ServiceSpec;
use super::watch::Watch;
use crate::node::{EventKind, Node};

/// What the supervisor works on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where events and the errors of services go.
    pub node: Node,
    /// The cgroup2 mount, on a device `/sys/fs/cgroup`.
    pub cgroup_mount: PathBuf,
    /// Where notification sockets are made, on a device `/run/skerry`.
    pub run_folder: PathBuf,
}

/// Why a service cannot be restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// There is no such service.
    #[error("cannot restart `{name}`: there is no such service; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, joined by commas.
        known: String,
    },
    /// The machine is on its way down.
    #[error("cannot restart `{name}`: the device is shutting down")]
    Stopping {
        /// What was asked for.
        name: String,
    },
}

/// All services at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By name.
    pub services: Vec<ServiceStatus>,
    /// After [`Supervisor::stop_all`]: nothing is left to wait for.
    pub all_stopped: bool,
}

enum Command {
    Event(Event),
    Reported(String),
    Restart(String, oneshot::Sender<Result<(), RestartError>>),
}

type Logs = Arc<Mutex<BTreeMap<String, LogRing>>>;

/// The handle. Clones speak to the same task.
#[derive(Debug, Clone)]
pub struct Supervisor {
    commands: mpsc::UnboundedSender<Command>,
    board: watch::Receiver<Snapshot>,
    logs: Logs,
    cgroups: Cgroups,
}

impl Supervisor {
    /// Starts the task on the current runtime. From then on it collects ended processes: as PID 1 every one.
    pub fn start(surroundings: Surroundings) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (publish, board) = watch::channel(Snapshot::default());
        let logs = Logs::default();
        let cgroups = Cgroups::new(&surroundings.cgroup_mount);
        let child_signals = signal(SignalKind::child())?;
        let task = Task {
            machine: Machine::default(),
            processes: BTreeMap::new(),
            logs: Arc::clone(&logs),
            cgroups: cgroups.clone(),
            commands: commands.clone(),
            publish,
            stopping: false,
            surroundings,
        };
        tokio::spawn(task.run(inbox, child_signals));
        Ok(Self { commands, board, logs, cgroups })
    }

    /// These services, and no others, are wanted from now on.
    pub fn ensure(&self, specs: Vec<ServiceSpec>) {
        self.send(Command::Event(Event::Ensure(specs)));
    }

    /// Another part of init found the service ready: see `Readiness::Reported`.
    pub fn report_ready(&self, name: &str) {
        self.send(Command::Reported(name.to_owned()));
    }

    /// Starts the service anew; returns once that is under way.
    pub async fn restart(&self, name: &str) -> Result<(), RestartError> {
        let (answer, outcome) = oneshot::channel();
        self.send(Command::Restart(name.to_owned(), answer));
        outcome.await.unwrap_or_else(|_| Err(RestartError::Stopping { name: name.to_owned() }))
    }

    /// Returns once the service is ready, or done when it runs once.
    pub async fn ready(&self, name: &str) {
        let up = |snapshot: &Snapshot| snapshot.services.iter().any(|service| service.name == name && service.is_up());
        // The task lives as long as the process; without it there is nothing to wait for.
        let _ = self.board.clone().wait_for(up).await;
    }

    /// Stops every service, dependents first; returns once all are stopped or `patience` is over.
    pub async fn stop_all(&self, patience: Duration) {
        self.send(Command::Event(Event::StopAll));
        let mut board = self.board.clone();
        if tokio::time::timeout(patience, board.wait_for(|snapshot| snapshot.all_stopped)).await.is_err() {
            tracing::error!(patience_s = patience.as_secs(), "services did not stop in time");
        }
    }

    /// All services now.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.board.borrow().services.clone()
    }

    /// Wakes when a service changes.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.board.clone()
    }

    /// What the service printed and will print; none: there is no such service.
    pub fn logs(&self, name: &str) -> Option<LogRing> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if self.board.borrow().services.iter().any(|service| service.name == name) {
            return Some(logs.entry(name.to_owned()).or_default().clone());
        }
        logs.get(name).cloned()
    }

    /// What the service uses.
    pub fn usage(&self, name: &str) -> Usage {
        self.cgroups.usage(name)
    }

    fn send(&self, command: Command) {
        // The task ends only with the process.
        let _ = self.commands.send(command);
    }
}

struct Process {
    pid: u32,
    name: String,
    watcher: Option<JoinHandle<()>>,
}

struct Task {
    machine: Machine,
    processes: BTreeMap<Run, Process>,
    logs: Logs,
    cgroups: Cgroups,
    commands: mpsc::UnboundedSender<Command>,
    publish: watch::Sender<Snapshot>,
    stopping: bool,
    surroundings: Surroundings,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>, mut child_signals: tokio::signal::unix::Signal) {
        loop {
            let deadline = self.machine.deadline();
            let until = tokio::time::Instant::from_std(deadline.unwrap_or_else(Instant::now));
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                _ = child_signals.recv() => self.collect(),
                () = tokio::time::sleep_until(until), if deadline.is_some() => self.handle(Event::Tick),
            }
            self.show();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Event(event) => {
                self.stopping |= event == Event::StopAll;
                self.handle(event);
            }
            Command::Reported(name) => {
                if let Some(run) = self.processes.iter().find(|(_, process)| process.name == name).map(|(run, _)| *run) {
                    self.handle(Event::Ready(run));
                }
            }
            Command::Restart(name, answer) => {
                let outcome = self.may_restart(&name);
                if outcome.is_ok() {
                    self.handle(Event::Restart(name));
                }
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(outcome);
            }
        }
    }

    fn may_restart(&self, name: &str) -> Result<(), RestartError> {
        let known: Vec<String> = self.machine.status().into_iter().map(|status| status.name).collect();
        if self.stopping {
            return Err(RestartError::Stopping { name: name.to_owned() });
        }
        if known.iter().any(|other| other == name) {
            return Ok(());
        }
        Err(RestartError::Unknown { name: name.to_owned(), known: known.join(", ") })
    }

    fn collect(&mut self) {
        for (pid, exit) in reap(self.processes.values().map(|process| process.pid).collect::<Vec<_>>().into_iter()) {
            let Some(run) = self.processes.iter().find(|(_, process)| process.pid == pid).map(|(run, _)| *run) else {
                tracing::debug!(pid, %exit, "orphan ended");
                continue;
            };
            let process = self.processes.remove(&run).expect("it was just found");
            if let Some(watcher) = process.watcher {
                watcher.abort();
            }
            self.handle(Event::Exited(run, exit));
        }
    }

    fn handle(&mut self, event: Event) {
        let mut actions = self.machine.on_event(Instant::now(), event);
        while !actions.is_empty() {
            let answers: Vec<Event> = actions.into_iter().filter_map(|action| self.act(action)).collect();
            actions = answers.into_iter().flat_map(|answer| self.machine.on_event(Instant::now(), answer)).collect();
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { run, spec } => return Some(self.spawn(run, &spec)),
            Action::Signal { run, signal } => self.signal(run, signal),
            Action::KillCgroup { name } => {
                if let Err(error) = self.cgroups.kill(&name) {
                    tracing::warn!(service = name, %error, "cannot kill what is left of a service");
                }
            }
            Action::Forget { name } => self.forget(&name),
            Action::Report { name, message } => {
                tracing::info!(service = name, message, "service");
                self.surroundings.node.events.record(EventKind::Service, &name, &message);
            }
        }
        None
    }

    fn spawn(&mut self, run: Run, spec: &ServiceSpec) -> Event {
        match self.try_spawn(run, spec) {
            Ok(pid) => Event::Spawned { run, pid },
            Err(error) => Event::SpawnFailed { run, error },
        }
    }

    fn try_spawn(&mut self, run: Run, spec: &ServiceSpec) -> Result<u32, String> {
        let watch = Watch::prepare(spec, &self.surroundings.run_folder)?;
        let extra_env: Vec<(&str, String)> = watch.environment().into_iter().collect();
        let spawned = spawn(spec, &self.cgroups, &extra_env).map_err(|error| error.to_string())?;
        let ring = self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(spec.name.clone()).or_default().clone();
        for (pipe, stream) in [(spawned.stdout, Stream::Stdout), (spawned.stderr, Stream::Stderr)] {
            let (ring, name) = (ring.clone(), spec.name.clone());
            tokio::spawn(async move {
                if let Err(error) = capture(pipe, stream, ring).await {
                    tracing::warn!(service = name, %error, "cannot read a service's output");
                }
            });
        }
        let commands = self.commands.clone();
        // Nobody hears the report only when the supervisor itself is gone.
        let report = move || drop(commands.send(Command::Event(Event::Ready(run))));
        let watcher = watch.start(spec.name.clone(), report);
        self.processes.insert(run, Process { pid: spawned.pid, name: spec.name.clone(), watcher });
        Ok(spawned.pid)
    }

    fn signal(&self, run: Run, signal: i32) {
        let process = self.processes.get(&run).and_then(|process| Pid::from_raw(i32::try_from(process.pid).ok()?));
        let (Some(pid), Some(signal)) = (process, Signal::from_named_raw(signal)) else { return };
        // Until it is collected its number names no other process. It may have ended already: then its exit is on its way.
        let _ = kill_process(pid, signal);
    }

    fn forget(&self, name: &str) {
        if let Err(error) = self.cgroups.remove(name) {
            tracing::warn!(service = name, %error, "a service left its cgroup behind");
        }
        self.surroundings.node.status.update(|status| status.set_error(&format!("service {name}"), None));
    }

    fn show(&self) {
        let snapshot = Snapshot { services: self.machine.status(), all_stopped: self.machine.all_stopped() };
        self.surroundings.node.status.update(|status| {
            for service in &snapshot.services {
                status.set_error(&format!("service {}", service.name), service.error());
            }
        });
        self.publish.send_if_modified(|shown| {
            let changed = *shown != snapshot;
            *shown = snapshot;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
