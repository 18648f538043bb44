//! The status board: the plain facts the console and the API show, with subscribers that wake on change.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine_config::types::DeviceId;
use tokio::sync::watch;

use super::{HubStanding, Phase, PhaseState};

/// What the device is doing as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// On its way.
    #[default]
    Booting,
    /// No configuration accepted yet.
    Maintenance,
    /// A configuration is in force.
    Configured,
    /// Rebooting or powering off.
    Stopping,
}

impl Mode {
    /// The word on the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Maintenance => "maintenance",
            Self::Configured => "configured",
            Self::Stopping => "stopping",
        }
    }

    /// The value on the wire.
    pub fn to_wire(self) -> api::v1::NodeMode {
        match self {
            Self::Booting => api::v1::NodeMode::Booting,
            Self::Maintenance => api::v1::NodeMode::Maintenance,
            Self::Configured => api::v1::NodeMode::Configured,
            Self::Stopping => api::v1::NodeMode::Stopping,
        }
    }
}

/// How far the clock is to be believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// The hardware clock was at or after the floor.
    Trusted,
    /// The clock was behind the floor and was set to it.
    Floor,
}

impl Clock {
    /// The word the API serves.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Trusted => "trusted",
            Self::Floor => "floor",
        }
    }
}

/// What this system runs from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunsFrom {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// This disk, by the kernel's name.
    Disk(String),
    /// RAM: what it knows goes with the power.
    Ram,
}

impl RunsFrom {
    /// Kernel name of the disk; empty while unknown, and in RAM.
    pub fn disk(&self) -> &str {
        match self {
            Self::Disk(name) => name,
            Self::Unknown | Self::Ram => "",
        }
    }

    /// The word the API serves.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "",
            Self::Disk(name) => name,
            Self::Ram => "RAM",
        }
    }
}

/// The facts. Times and uptime are added when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Known once the identity key is loaded.
    pub device_id: Option<DeviceId>,
    /// The kernel's host name.
    pub hostname: String,
    /// What the device is doing as a whole.
    pub mode: Mode,
    /// The current boot phase.
    pub phase: Phase,
    /// Where that phase stands.
    pub phase_state: PhaseState,
    /// Failed phases and services: what it is about to what went wrong.
    pub errors: BTreeMap<String, String>,
    /// `eth0 10.0.2.15/24`, in link order.
    pub addresses: Vec<String>,
    /// 0: none.
    pub config_generation: u64,
    /// SHA-256 of the accepted bytes, hex; empty: none.
    pub config_digest: String,
    /// Accepted fields this version does not act on.
    pub not_yet_in_effect: Vec<String>,
    /// Every health check passed.
    pub healthy: bool,
    /// Empty while unknown.
    pub fleet: String,
    /// How far the clock is to be believed.
    pub clock: Clock,
    /// dm-verity root hash of the open runtime image, hex; empty while not open.
    pub runtime_root_hash: String,
    /// What Skerry runs from.
    pub runs_from: RunsFrom,
    /// How it stands with `machine.install`, in one line for a person; empty: nothing to say.
    pub install: String,
    /// How it stands with the hub; none: no hub, or apid has not said yet.
    pub hub: Option<HubStanding>,
    /// Where whoever scans the console's code claims the device; empty: no hub.
    pub claim: String,
    /// TCP port apid listens on.
    pub api_port: u16,
}

impl Default for NodeStatus {
    fn default() -> Self {
        Self {
            device_id: None,
            hostname: String::new(),
            mode: Mode::default(),
            phase: Phase::Early,
            phase_state: PhaseState::default(),
            errors: BTreeMap::new(),
            addresses: Vec::new(),
            config_generation: 0,
            config_digest: String::new(),
            not_yet_in_effect: Vec::new(),
            healthy: false,
            fleet: String::new(),
            clock: Clock::default(),
            runtime_root_hash: String::new(),
            runs_from: RunsFrom::default(),
            install: String::new(),
            hub: None,
            claim: String::new(),
            api_port: api::DEFAULT_PORT,
        }
    }
}

impl NodeStatus {
    /// Sets or clears what is wrong with one subject, e.g. `service k3s`.
    pub fn set_error(&mut self, subject: &str, error: Option<String>) {
        match error {
            Some(error) => drop(self.errors.insert(subject.to_owned(), error)),
            None => drop(self.errors.remove(subject)),
        }
    }

    /// One line per error.
    pub fn error_lines(&self) -> Vec<String> {
        self.errors.iter().map(|(subject, error)| format!("{subject}: {error}")).collect()
    }

    /// What the current phase waits for; empty: nothing.
    pub fn waiting_for(&self) -> &str {
        match &self.phase_state {
            PhaseState::Waiting(what) => what,
            PhaseState::Pending | PhaseState::Running | PhaseState::Done | PhaseState::Failed(_) => "",
        }
    }

    /// The message on the wire; the caller adds `time` and `uptime_ms`.
    pub fn to_wire(&self) -> api::v1::StatusResponse {
        api::v1::StatusResponse {
            device_id: self.device_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            hostname: self.hostname.clone(),
            mode: self.mode.to_wire().into(),
            phase: self.phase.name().to_owned(),
            phase_state: self.phase_state.to_wire().into(),
            waiting_for: self.waiting_for().to_owned(),
            errors: self.error_lines(),
            addresses: self.addresses.clone(),
            config_generation: self.config_generation,
            config_digest: self.config_digest.clone(),
            not_yet_in_effect: self.not_yet_in_effect.clone(),
            healthy: self.healthy,
            time: None,
            uptime_ms: 0,
            fleet: self.fleet.clone(),
            clock: self.clock.as_str().to_owned(),
            runs_from: self.runs_from.as_str().to_owned(),
            install: self.install.clone(),
            hub: self.hub.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

/// The shared board. Clones share it.
#[derive(Debug, Clone)]
pub struct StatusBoard(Arc<watch::Sender<NodeStatus>>);

impl Default for StatusBoard {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(NodeStatus::default())))
    }
}

impl StatusBoard {
    /// Changes the facts; subscribers wake only when something differs.
    pub fn update(&self, change: impl FnOnce(&mut NodeStatus)) {
        self.0.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    /// A copy of the facts.
    pub fn get(&self) -> NodeStatus {
        self.0.borrow().clone()
    }

    /// Wakes at each change.
    pub fn subscribe(&self) -> watch::Receiver<NodeStatus> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_changes_nothing_wakes_nobody() {
        let board = StatusBoard::default();
        let watcher = board.subscribe();
        board.update(|status| status.healthy = false);
        assert!(!watcher.has_changed().expect("the board lives"));
        board.update(|status| status.healthy = true);
        assert!(watcher.has_changed().expect("the board lives"));
    }

    #[test]
    fn the_wire_form_carries_every_fact() {
        let mut status = NodeStatus { hostname: "store".into(), mode: Mode::Maintenance, ..NodeStatus::default() };
        status.phase = Phase::Config;
        status.phase_state = PhaseState::Waiting("a signed configuration".into());
        status.set_error("service k3s", Some("the image carries no k3s".into()));
        let wire = status.to_wire();
        assert_eq!(wire.waiting_for, "a signed configuration");
        assert_eq!(wire.errors, ["service k3s: the image carries no k3s"]);
        assert_eq!(wire.mode(), api::v1::NodeMode::Maintenance);
        assert_eq!(wire.phase_state(), api::v1::PhaseState::Waiting);
    }
}
