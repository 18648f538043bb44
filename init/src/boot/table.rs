//! The boot, top to bottom: which phase begins when. Pure; what a phase does stands in `steps`.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::machine::Machine;
use super::steps;
use crate::node::{Phase, PhaseState, Times};

/// What a phase waits for before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The other phase has ended well.
    Done(Phase),
    /// It is clear how things stand with the other phase: it is done, waits for somebody, has failed, or cannot begin any more.
    Settled(Phase),
}

/// What a phase does; an error is the named state it ends in.
pub(super) type Run = fn(Rc<Machine>) -> LocalBoxFuture<'static, anyhow::Result<()>>;

/// One phase.
pub(super) struct Row {
    pub(super) phase: Phase,
    pub(super) after: &'static [Gate],
    pub(super) run: Run,
}

use Gate::{Done, Settled};

/// A phase begins as soon as its gates are open; phases whose gates are open run side by side.
///
/// With no configuration, `config` waits, and so is settled: network and API come up and the device is in maintenance. The moment
/// a configuration is accepted, `config` is done and the rest follows without a reboot. When `devices` or `state` fail, `config`
/// can never begin, and so is settled too: the API still says what is wrong.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // Kernel file systems, log, drivers begun, cgroups, files that are the same everywhere.
    Row { phase: Phase::Early, after: &[], run: |m| Box::pin(steps::early(m)) },
    // The disk that holds this image, as soon as its driver brings it. Bounded, then a named failure; a disk that comes later still goes on.
    Row { phase: Phase::Devices, after: &[Done(Phase::Early)], run: |m| Box::pin(steps::devices(m)) },
    // Partition table, STATE, clock floor, identity, SEED.
    Row { phase: Phase::State, after: &[Done(Phase::Devices)], run: |m| Box::pin(steps::state(m)) },
    // The last accepted configuration judged again, or SEED's, or whatever the API brings: for ever, visibly.
    Row { phase: Phase::Config, after: &[Done(Phase::State)], run: |m| Box::pin(steps::config(m)) },
    // A system in RAM puts itself on the disk that the configuration names, and restarts; nothing else is started meanwhile. Ends at once on a disk.
    Row { phase: Phase::Install, after: &[Done(Phase::Config)], run: |m| Box::pin(steps::install(m)) },
    // As configured; DHCP on every wired link without a configuration. Ends at once: links and leases come when they come.
    Row { phase: Phase::Network, after: &[Settled(Phase::Config)], run: |m| Box::pin(steps::network(m)) },
    // apid starts early and in parallel; it gets certificate and settings once config is settled, and then listens.
    Row { phase: Phase::Api, after: &[Settled(Phase::Early)], run: |m| Box::pin(steps::api(m)) },
    // The sealed runtime image at /usr; DATA at /var, sized as configured.
    Row { phase: Phase::Volumes, after: &[Done(Phase::Install)], run: |m| Box::pin(steps::volumes(m)) },
    // Modules, kernel parameters, containerd, images, k3s.
    Row { phase: Phase::Services, after: &[Done(Phase::Volumes), Settled(Phase::Network)], run: |m| Box::pin(steps::services(m)) },
    // Every service that counts is up.
    Row { phase: Phase::Healthy, after: &[Done(Phase::Services)], run: |m| Box::pin(steps::healthy(m)) },
];

/// The phases that may begin now.
pub(super) fn startable(times: &Times) -> Vec<&'static Row> {
    let pending = |row: &&Row| times.get(row.phase).state == PhaseState::Pending;
    TABLE.iter().filter(pending).filter(|row| row.after.iter().all(|gate| is_open(*gate, times))).collect()
}

fn is_open(gate: Gate, times: &Times) -> bool {
    match gate {
        Done(phase) => times.get(phase).state == PhaseState::Done,
        Settled(phase) => is_settled(phase, times),
    }
}

/// See [`Gate::Settled`].
pub(super) fn is_settled(phase: Phase, times: &Times) -> bool {
    match &times.get(phase).state {
        PhaseState::Done | PhaseState::Waiting(_) | PhaseState::Failed(_) => true,
        PhaseState::Running => false,
        PhaseState::Pending => is_blocked(phase, times),
    }
}

/// A phase that cannot begin because one it needs has failed, or is blocked itself.
fn is_blocked(phase: Phase, times: &Times) -> bool {
    let gates = TABLE.iter().filter(|row| row.phase == phase).flat_map(|row| row.after);
    gates.into_iter().any(|gate| match gate {
        Done(needed) => matches!(times.get(*needed).state, PhaseState::Failed(_)) || is_blocked(*needed, times),
        Settled(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::Node;

    fn names(node: &Node) -> Vec<&'static str> {
        startable(&node.times.snapshot()).iter().map(|row| row.phase.name()).collect()
    }

    #[test]
    fn every_phase_has_one_row_and_needs_only_earlier_ones() {
        let phases: Vec<_> = TABLE.iter().map(|row| row.phase).collect();
        assert_eq!(phases, Phase::ALL);
        for row in TABLE {
            for gate in row.after {
                let (Done(other) | Settled(other)) = gate;
                assert!(*other < row.phase, "{} needs {}", row.phase.name(), other.name());
            }
        }
    }

    #[test]
    fn maintenance_has_network_and_api_and_goes_on_when_configured() {
        let node = Node::default();
        assert_eq!(names(&node), ["early"]);
        node.done(Phase::Early);
        assert_eq!(names(&node), ["devices", "api"]);
        for phase in [Phase::Devices, Phase::State, Phase::Api] {
            node.done(phase);
        }
        assert_eq!(names(&node), ["config"]);
        node.begin(Phase::Config);
        assert!(names(&node).is_empty());
        node.waiting(Phase::Config, "a signed configuration");
        assert_eq!(names(&node), ["network"]);
        node.done(Phase::Network);
        node.done(Phase::Config);
        assert_eq!(names(&node), ["install"]);
        node.begin(Phase::Install);
        node.waiting(Phase::Install, "a disk to install on");
        assert!(names(&node).is_empty(), "no service starts while the system is being installed");
        node.done(Phase::Install);
        assert_eq!(names(&node), ["volumes"]);
        node.done(Phase::Volumes);
        assert_eq!(names(&node), ["services"]);
    }

    #[test]
    fn a_failed_disk_leaves_the_api_reachable() {
        for failed in [Phase::Early, Phase::Devices, Phase::State] {
            let node = Node::default();
            for phase in Phase::ALL.into_iter().take_while(|phase| *phase < failed) {
                node.done(phase);
            }
            node.failed(failed, "broken");
            let names = names(&node);
            assert!(names.contains(&"network") && names.contains(&"api"), "{names:?} after {}", failed.name());
            assert!(!names.contains(&"volumes"));
        }
    }

    proptest! {
        /// However phases end, network and API come up, and what has not begun stands behind a phase that waits.
        #[test]
        fn the_boot_never_stands_still(outcomes in proptest::collection::vec(0..3_u8, Phase::ALL.len())) {
            let node = Node::default();
            for _ in Phase::ALL {
                for row in startable(&node.times.snapshot()) {
                    match outcomes[row.phase as usize] {
                        0 => node.done(row.phase),
                        // Only these wait for somebody; the others end.
                        1 if row.phase >= Phase::Config => node.waiting(row.phase, "somebody"),
                        _ => node.failed(row.phase, "broken"),
                    }
                }
            }
            let times = node.times.snapshot();
            let waits = Phase::ALL.into_iter().any(|phase| matches!(times.get(phase).state, PhaseState::Waiting(_)));
            for phase in Phase::ALL {
                prop_assert!(is_settled(phase, &times) || waits, "{} is stuck", phase.name());
            }
            for phase in [Phase::Network, Phase::Api] {
                prop_assert!(times.get(phase).state != PhaseState::Pending, "{} never began", phase.name());
            }
        }
    }
}
