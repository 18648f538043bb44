//! Tells events and the status board what became of the network: once per change, not once per look.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::facts::{LinkFacts, LinkKind};
use super::files::NamesError;
use super::netlink::ObserveError;
use super::plan::NetworkPlan;
use super::reconcile::{Change, Observed, address_lines};
use crate::node::{EventKind, Node};

/// The subject of errors on the status board.
const SUBJECT: &str = "network";

/// Remembers what has been told.
#[derive(Debug)]
pub(super) struct Reporter {
    node: Node,
    links: BTreeMap<u32, (String, bool)>,
    addresses: BTreeSet<String>,
    missing: Vec<String>,
    failures: BTreeSet<String>,
    told: BTreeSet<String>,
    names_failure: Option<String>,
}

impl Reporter {
    pub(super) fn new(node: Node) -> Self {
        let (links, addresses, missing) = Default::default();
        Self { node, links, addresses, missing, failures: BTreeSet::new(), told: BTreeSet::new(), names_failure: None }
    }

    /// An event about one link.
    pub(super) fn event(&self, link: u32, message: &str) {
        let subject = self.links.get(&link).map_or(SUBJECT, |(name, _)| name);
        tracing::info!(link = subject, message, "network");
        self.node.events.record(EventKind::Network, subject, message);
    }

    /// Ports that came, went, or changed their carrier.
    pub(super) fn links(&mut self, observed: &Observed) {
        let is_port = |link: &&LinkFacts| link.kind == LinkKind::Wired || self.links.contains_key(&link.index);
        let ports: Vec<&LinkFacts> = observed.links.iter().filter(is_port).collect();
        let gone: Vec<u32> = self.links.keys().copied().filter(|index| ports.iter().all(|link| link.index != *index)).collect();
        for index in gone {
            self.event(index, "link is gone");
            self.links.remove(&index);
        }
        for link in ports {
            let carrier = link.up && link.carrier;
            let before = self.links.insert(link.index, (link.name.clone(), carrier));
            match before.map(|(_, carrier)| carrier) {
                None => self.event(link.index, "link is there"),
                Some(false) if carrier => self.event(link.index, "cable is connected"),
                Some(true) if !carrier => self.event(link.index, "cable is disconnected"),
                Some(_) => {}
            }
        }
    }

    /// Before changes are carried out: failures are those of this round.
    pub(super) fn begin(&mut self) {
        self.failures.clear();
    }

    /// A change the kernel refused.
    pub(super) fn failed(&mut self, change: &Change, error: &io::Error) {
        let link = change.link();
        let name = self.links.get(&link).map_or_else(|| format!("link {link}"), |(name, _)| name.clone());
        let failure = format!("cannot {change} on {name}: {error}");
        if self.told.insert(failure.clone()) {
            self.event(link, &failure);
        }
        self.failures.insert(failure);
    }

    /// The kernel's state cannot be read.
    pub(super) fn unreadable(&mut self, error: &ObserveError) {
        self.set_error(Some(with_cause(error)));
    }

    /// Why the name files cannot be written; none: they are.
    pub(super) fn names(&mut self, error: Option<&NamesError>) {
        let failure = error.map(|error| with_cause(error));
        if let Some(failure) = failure.as_ref().filter(|failure| self.names_failure.as_ref() != Some(failure)) {
            self.event(0, failure);
        }
        self.names_failure = failure;
    }

    /// Addresses, missing interfaces and failures after a look.
    pub(super) fn report(&mut self, plan: &NetworkPlan, observed: &Observed) {
        // Links that a configuration names are told about like ports from now on.
        for planned in &plan.links {
            let facts = observed.links.iter().find(|link| link.index == planned.index && link.kind != LinkKind::Loopback);
            if let Some(link) = facts {
                self.links.entry(link.index).or_insert_with(|| (link.name.clone(), link.up && link.carrier));
            }
        }
        self.told.retain(|failure| self.failures.contains(failure));
        self.report_addresses(address_lines(observed, plan));
        if self.missing != plan.missing {
            self.missing.clone_from(&plan.missing);
            for missing in &plan.missing {
                self.node.events.record(EventKind::Network, missing, "configured, but no such link is there");
            }
        }
        let missing = plan.missing.iter().map(|missing| format!("configured interface {missing} is not there"));
        let problems: Vec<String> = self.failures.iter().cloned().chain(missing).collect();
        self.set_error((!problems.is_empty()).then(|| problems.join("; ")));
    }

    fn report_addresses(&mut self, lines: Vec<String>) {
        let now: BTreeSet<String> = lines.iter().cloned().collect();
        let told = |line: &String, verb: &str| {
            let (link, address) = line.split_once(' ').unwrap_or((SUBJECT, line));
            tracing::info!(link, address, verb, "network address");
            self.node.events.record(EventKind::Network, link, &format!("address {address} {verb}"));
        };
        self.addresses.difference(&now).for_each(|line| told(line, "removed"));
        now.difference(&self.addresses).for_each(|line| told(line, "added"));
        self.addresses = now;
        self.node.status.update(|status| status.addresses = lines);
    }

    fn set_error(&self, error: Option<String>) {
        self.node.status.update(|status| status.set_error(SUBJECT, error));
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
