//! What the phases hand to each other: the shared handles, and one place per product, filled once.

use std::cell::OnceCell;
use std::sync::Arc;

use machine_config::Trust;
use machine_config::schema::MachineConfig;
use machine_config::seed::Seed;
use machine_config::types::HostName;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{self, Acceptor, AcceptorSlot, acceptor_slot};
use crate::console::Console;
use crate::devices::BootDisk;
use crate::hub::HomeOfSeed;
use crate::logging::LevelHandle;
use crate::modules::Hotplug;
use crate::network::NetworkHandle;
use crate::node::{ApplyRequest, ConfigHandle, InForce, Node, PowerHandle, Release, config_channel};
use crate::ram::RamForm;
use crate::services::Supervisor;
use crate::services::definitions::RuntimeFacts;
use crate::state::{Identity, Store};
use crate::verity::RuntimeSeal;

/// What this system runs from.
#[derive(Debug, Clone)]
pub(super) enum Medium {
    /// A disk, where it keeps what it knows.
    Disk(BootDisk),
    /// RAM: what it knows goes with the power.
    Ram(RamForm),
}

/// What SEED said.
#[derive(Debug)]
pub(super) struct FromSeed {
    /// The fleet to obey, or why there is none, for a person.
    pub(super) trust: Result<Trust, String>,
    /// All of it; none when it cannot be read.
    pub(super) seed: Option<Seed>,
}

impl FromSeed {
    /// A signed configuration, when it carries one.
    pub(super) fn config(&self) -> Option<&[u8]> {
        self.seed.as_ref()?.config.as_deref()
    }

    /// What the device is called until a configuration names it.
    pub(super) fn device_name(&self) -> Option<&HostName> {
        self.seed.as_ref()?.device_name.as_ref()
    }
}

/// The far ends of the configuration's channels, until the task that serves them starts.
type ConfigEnds = (mpsc::Receiver<ApplyRequest>, oneshot::Receiver<Acceptor>, watch::Sender<Option<Arc<InForce>>>);

/// The handles and the products of the phases.
pub(super) struct Machine {
    pub(super) node: Node,
    pub(super) power: PowerHandle,
    pub(super) config: ConfigHandle,
    /// From early.
    pub(super) release: OnceCell<Release>,
    pub(super) console: OnceCell<Console>,
    pub(super) level: OnceCell<LevelHandle>,
    pub(super) supervisor: OnceCell<Supervisor>,
    /// From devices.
    pub(super) hotplug: OnceCell<Hotplug>,
    pub(super) seal: OnceCell<RuntimeSeal>,
    pub(super) medium: OnceCell<Medium>,
    /// From state.
    pub(super) store: OnceCell<Store>,
    pub(super) identity: watch::Sender<Option<Identity>>,
    pub(super) seed: OnceCell<FromSeed>,
    /// What SEED says of phoning home; set before the identity is.
    pub(super) home: watch::Sender<HomeOfSeed>,
    /// From network.
    pub(super) network: OnceCell<NetworkHandle>,
    /// From volumes.
    pub(super) runtime: OnceCell<RuntimeFacts>,
    /// Whoever plans the services from the configuration in force holds it until the supervisor knows: the later plan wins.
    pub(super) planning: tokio::sync::Mutex<()>,
    /// Whoever installs holds it: the phase, or what comes after it.
    pub(super) installing: tokio::sync::Mutex<()>,
    acceptor: std::cell::Cell<Option<AcceptorSlot>>,
    ends: std::cell::Cell<Option<ConfigEnds>>,
}

impl Machine {
    pub(super) fn new(node: Node, power: PowerHandle) -> Self {
        let (config, inbox, in_force) = config_channel();
        let (slot, acceptor) = acceptor_slot();
        Self {
            node,
            power,
            config,
            release: OnceCell::new(),
            console: OnceCell::new(),
            level: OnceCell::new(),
            supervisor: OnceCell::new(),
            hotplug: OnceCell::new(),
            seal: OnceCell::new(),
            medium: OnceCell::new(),
            store: OnceCell::new(),
            identity: watch::Sender::new(None),
            seed: OnceCell::new(),
            home: watch::Sender::new(HomeOfSeed::default()),
            network: OnceCell::new(),
            runtime: OnceCell::new(),
            planning: tokio::sync::Mutex::default(),
            installing: tokio::sync::Mutex::default(),
            acceptor: Some(slot).into(),
            ends: Some((inbox, acceptor, in_force)).into(),
        }
    }

    /// Begins to answer offers of configurations; a second call does nothing.
    pub(super) fn serve_config(&self) {
        if let Some((inbox, acceptor, in_force)) = self.ends.take() {
            tokio::spawn(config::run(inbox, acceptor, in_force, self.node.clone()));
        }
    }

    /// Lets offers be judged from now on.
    pub(super) fn hand_over(&self, acceptor: Acceptor) {
        if let Some(slot) = self.acceptor.take() {
            // The task ends only with the process.
            let _ = slot.send(acceptor);
        }
    }

    /// What the image says of itself.
    pub(super) fn release(&self) -> &Release {
        self.release.get_or_init(Release::unknown)
    }

    /// The configuration in force.
    pub(super) fn in_force(&self) -> Option<Arc<MachineConfig>> {
        self.config.current().map(|current| Arc::new(current.config.clone()))
    }

    /// A product of an earlier phase; the table's gates make sure that it is there.
    pub(super) fn product<T: Clone>(cell: &OnceCell<T>) -> T {
        cell.get().expect("the table begins no phase before those it needs are done").clone()
    }
}
