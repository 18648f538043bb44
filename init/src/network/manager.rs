//! The task that keeps the kernel as configuration and leases want it, and tells the rest of init what came of it.
//!
//! It looks at the whole state after each announcement, lease or configuration, and never waits for any of them in particular. It holds what was
//! asked for, not what it believes is there: an address that somebody takes away comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use machine_config::schema::MachineConfig;
use tokio::sync::mpsc;

use super::dhcp::{self, Client, Lease, Link, Report, Reports, Withdrawal};
use super::facts::LinkKind;
use super::files;
use super::monitor::{Announcement, Monitor};
use super::names::Names;
use super::netlink::{Netlink, ObserveError};
use super::plan::{NetworkPlan, plan};
use super::reconcile::{Change, Desired, Observed, Owned, reconcile};
use super::report::Reporter;
use crate::node::{EventKind, Node, boottime_usec};

/// One change may undo another (taking an address away takes its routes along), so the rest is looked for again, this often.
const ROUNDS: usize = 3;

/// Where the manager finds the system and what a device without a configuration is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where sysfs is mounted.
    pub sys: PathBuf,
    /// The folder of resolv.conf, hosts and hostname.
    pub etc: PathBuf,
    /// The host name until a configuration gives one.
    pub fallback_hostname: String,
}

impl Settings {
    /// Those of a device.
    pub fn system(fallback_hostname: &str) -> Self {
        Self { sys: "/sys".into(), etc: "/etc".into(), fallback_hostname: fallback_hostname.to_owned() }
    }
}

/// The running network. The network stands still when the last handle is dropped; what is set stays set.
#[derive(Debug, Clone)]
pub struct NetworkHandle(mpsc::UnboundedSender<Option<Arc<MachineConfig>>>);

impl NetworkHandle {
    /// Takes a configuration, or none, and returns at once; its effect is seen on the status board and in the events.
    pub fn apply(&self, config: Option<Arc<MachineConfig>>) {
        // An error means that the runtime is going down, and the network with it.
        let _ = self.0.send(config);
    }
}

/// Starts the network on the current runtime and returns at once.
pub fn start(node: Node, settings: Settings, config: Option<Arc<MachineConfig>>) -> NetworkHandle {
    let (sender, configs) = mpsc::unbounded_channel();
    let (reports, leases) = mpsc::unbounded_channel();
    let manager = Manager {
        netlink: Netlink::new(&settings.sys),
        reporter: Reporter::new(node.clone()),
        node,
        settings,
        config,
        reports,
        clients: BTreeMap::new(),
        leases: BTreeMap::new(),
        owned: Owned::default(),
        ignored: BTreeSet::new(),
        names: Names::default(),
        asked_at: None,
    };
    tokio::spawn(manager.run(configs, leases));
    NetworkHandle(sender)
}

struct Manager {
    node: Node,
    settings: Settings,
    netlink: Netlink,
    reporter: Reporter,
    config: Option<Arc<MachineConfig>>,
    reports: Reports,
    clients: BTreeMap<u32, Client>,
    leases: BTreeMap<u32, Lease>,
    owned: Owned,
    /// Links that are none of our business: containers make and remove them all day.
    ignored: BTreeSet<u32>,
    names: Names,
    asked_at: Option<u64>,
}

impl Manager {
    async fn run(
        mut self,
        mut configs: mpsc::UnboundedReceiver<Option<Arc<MachineConfig>>>,
        mut reports: mpsc::UnboundedReceiver<(u32, Report)>,
    ) {
        let mut monitor = self.open_monitor();
        loop {
            self.converge();
            loop {
                tokio::select! {
                    config = configs.recv() => match config {
                        Some(config) => self.config = config,
                        None => return,
                    },
                    report = reports.recv() => match report {
                        Some((link, report)) => self.take(link, report),
                        None => return,
                    },
                    heard = announcements(monitor.as_ref()) => match heard {
                        Ok(heard) if heard.iter().any(|announcement| self.concerns(announcement)) => {}
                        Ok(_) => continue,
                        Err(error) => {
                            tracing::warn!(%error, "network announcements ended, listening anew");
                            monitor = self.open_monitor();
                        }
                    },
                }
                break;
            }
        }
    }

    fn open_monitor(&self) -> Option<Monitor> {
        Monitor::open()
            .inspect_err(|error| {
                let message = format!("cannot listen for changes of links: {error}; a cable plugged in later is not noticed");
                self.node.events.record(EventKind::Network, "network", &message);
            })
            .ok()
    }

    fn concerns(&self, announcement: &Announcement) -> bool {
        match announcement {
            Announcement::Link(link) | Announcement::Address(link) => !self.ignored.contains(link),
            Announcement::RouteGone | Announcement::Lost => true,
        }
    }

    fn take(&mut self, link: u32, report: Report) {
        match report {
            Report::Asked => self.asked_at = self.asked_at.or_else(|| Some(boottime_usec())),
            // A report of a client that has been dropped since.
            Report::Bound(_) | Report::Withdrawn(_) if !self.clients.contains_key(&link) => {}
            Report::Bound(lease) => {
                let fresh = self.leases.get(&link).is_none_or(|old| (old.address, old.server) != (lease.address, lease.server));
                if fresh {
                    self.reporter.event(link, &format!("lease {} from {}", lease.address, lease.server));
                }
                if let Some(asked) = self.asked_at {
                    self.node.times.dhcp_wait(boottime_usec().saturating_sub(asked).max(1));
                }
                self.leases.insert(link, lease);
            }
            Report::Withdrawn(why) => {
                self.leases.remove(&link);
                self.reporter.event(
                    link,
                    match why {
                        Withdrawal::Expired => "lease expired: no server renewed it",
                        Withdrawal::Refused => "lease refused: the server no longer grants it",
                    },
                );
            }
        }
    }

    fn converge(&mut self) {
        match self.try_converge() {
            Ok((plan, observed)) => {
                self.ignored = others(&observed, &plan);
                self.reporter.report(&plan, &observed);
            }
            Err(error) => self.reporter.unreadable(&error),
        }
        self.write_names();
    }

    fn try_converge(&mut self) -> Result<(NetworkPlan, Observed), ObserveError> {
        let mut observed = self.netlink.observe()?;
        self.reporter.links(&observed);
        let plan = plan(&observed.links, self.config.as_deref());
        self.end_clients(&plan);
        let desired = Desired::new(&plan, &self.leases);
        self.reporter.begin();
        for _ in 0..ROUNDS {
            self.owned.refresh(&desired, &observed);
            let changes = reconcile(&desired, &observed, &self.owned);
            if changes.is_empty() || !self.carry_out(&changes) {
                break;
            }
            observed = self.netlink.observe()?;
        }
        self.guide_clients(&plan, &observed);
        Ok((plan, observed))
    }

    /// Carries out what can be; says whether anything could.
    fn carry_out(&mut self, changes: &[Change]) -> bool {
        let mut any = false;
        for change in changes {
            match self.netlink.apply(change) {
                Ok(()) => {
                    tracing::debug!(link = change.link(), %change, "network change");
                    any = true;
                }
                Err(error) => self.reporter.failed(change, &error),
            }
        }
        any
    }

    fn end_clients(&mut self, plan: &NetworkPlan) {
        let asks = |index: &u32| plan.links.iter().any(|link| link.index == *index && link.dhcp4.is_some());
        self.clients.retain(|index, _| asks(index));
        self.leases.retain(|index, _| asks(index));
    }

    fn guide_clients(&mut self, plan: &NetworkPlan, observed: &Observed) {
        let hostname = super::hostname(self.config.as_deref()).unwrap_or(&self.settings.fallback_hostname);
        for planned in plan.links.iter().filter(|link| link.dhcp4.is_some()) {
            let Some((facts, mac)) =
                observed.links.iter().find(|link| link.index == planned.index).and_then(|facts| Some((facts, facts.mac?)))
            else {
                continue;
            };
            let client = self.clients.entry(planned.index).or_insert_with(|| {
                let link = Link { index: planned.index, name: planned.name.clone() };
                // Not secret, only different each time; unlike getrandom(2) this never waits for entropy at boot.
                let seed = RandomState::new().hash_one(mac);
                Client::start(link, dhcp::Settings { mac, hostname: Some(hostname.to_owned()), seed }, self.reports.clone())
            });
            client.carrier(facts.up && facts.carrier);
            client.rename(hostname);
        }
    }

    fn write_names(&mut self) {
        let names = Names::new(self.config.as_deref(), &self.leases, &self.settings.fallback_hostname);
        if names == self.names {
            return;
        }
        let written = files::write(&self.settings.etc, &names);
        self.reporter.names(written.as_ref().err());
        if written.is_ok() {
            self.node.status.update(|status| status.hostname.clone_from(&names.hostname));
            self.names = names;
        }
    }
}

/// Links that are neither ports nor planned.
fn others(observed: &Observed, plan: &NetworkPlan) -> BTreeSet<u32> {
    let planned = |index: u32| plan.links.iter().any(|link| link.index == index);
    let other = observed.links.iter().filter(|link| link.kind == LinkKind::Other && !planned(link.index));
    other.map(|link| link.index).collect()
}

async fn announcements(monitor: Option<&Monitor>) -> io::Result<Vec<Announcement>> {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}
