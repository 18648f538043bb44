//! Carrying an accepted configuration into the running system: what can change live changes, the rest restarts or reboots.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use machine_config::schema::MachineConfig;
use machine_config::{Effect, compare};

use super::machine::{Machine, Medium};
use crate::node::{EventKind, InForce, Phase, PhaseState, PowerKind};
use crate::services::definitions;

/// Waits for configurations, for ever. The first one lets the boot go on; each later one is carried into the running system.
pub(super) async fn run(machine: Rc<Machine>) {
    let mut changes = machine.config.subscribe();
    let mut booted = Booted::default();
    while changes.changed().await.is_ok() {
        let Some(new) = machine.config.current() else { continue };
        let carried = AssertUnwindSafe(booted.take_over(&machine, &new)).catch_unwind().await;
        if carried.is_err() {
            let message = "init has a defect and did not carry all of it out; reboot the device".to_owned();
            machine.node.status.update(|status| status.set_error("config", Some(message)));
        }
    }
}

/// The configuration that the running system was started with. What takes effect at a boot only is compared with this one and not with the one
/// before: what the one before left undone is still undone.
#[derive(Default)]
struct Booted(Option<MachineConfig>);

impl Booted {
    async fn take_over(&mut self, machine: &Machine, new: &InForce) {
        apply_live(machine, &new.config).await;
        // In RAM the volumes wait for an installation, and open with the configuration that is in force then.
        let in_ram = matches!(machine.medium.get(), Some(Medium::Ram(_)));
        if in_ram && machine.node.times.get(Phase::Volumes).state == PhaseState::Pending {
            self.0 = None;
        }
        match &self.0 {
            Some(booted) => carry_over(machine, booted, &new.config, new.generation).await,
            None => self.0 = Some(new.config.clone()),
        }
    }
}

/// What needs no restart of anything.
async fn apply_live(machine: &Machine, config: &MachineConfig) {
    if let Some(level) = machine.level.get() {
        level.set(config.machine.logging.level);
    }
    if let Some(network) = machine.network.get() {
        network.apply(Some(std::sync::Arc::new(config.clone())));
    }
    machine.node.status.update(|status| status.fleet = config.metadata.fleet.to_string());
    super::steps::tell_inert(&machine.node, config);
    // Before the runtime is there the services phase does this, in its order.
    if machine.runtime.get().is_some() {
        super::steps::prepare_kernel(machine, config).await;
    }
}

/// Restarts what changed, or reboots when something changed that cannot change otherwise.
async fn carry_over(machine: &Machine, booted: &MachineConfig, new: &MachineConfig, generation: u64) {
    let changes = compare(Some(booted), new);
    let needs_reboot = changes.iter().find(|change| change.effect == Effect::Reboot);
    if matches!(machine.medium.get(), Some(Medium::Ram(_))) {
        // It would forget the configuration: RAM keeps nothing.
        let message = needs_reboot.map(|change| {
            format!("{} takes effect at a boot only, and a system in RAM forgets its configuration with it: put it into SEED, or install", change.path)
        });
        machine.node.status.update(|status| status.set_error("restart", message));
    } else if let Some(change) = needs_reboot {
        machine.power.request(PowerKind::Reboot, &format!("configuration generation {generation}: {} changed", change.path));
        return;
    }
    let (Some(runtime), Some(supervisor)) = (machine.runtime.get(), machine.supervisor.get()) else { return };
    let _planning = machine.planning.lock().await;
    // Services whose command or files differ restart; the others are left alone.
    if let Err(error) = definitions::bring_up(new, *runtime, std::path::Path::new("/"), supervisor, &machine.node).await {
        machine.node.events.record(EventKind::Config, "services", &error.to_string());
        machine.node.status.update(|status| status.set_error("config", Some(error.to_string())));
    } else {
        machine.node.status.update(|status| status.set_error("config", None));
    }
}

#[cfg(test)]
mod tests {
    use machine_config::ram_form::Extent;

    use super::*;
    use crate::node::{Node, power_channel};
    use crate::ram::RamForm;
    use crate::ram::tests::pack;

    fn in_force(generation: u64, machine: &str) -> InForce {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: {generation}}}\n\
             target: {{any: true}}\nmachine: {{{machine}}}\n"
        );
        let config = machine_config::parse(text.as_bytes()).expect("a document");
        InForce { config, generation, digest: String::new(), key_id: String::new() }
    }

    fn in_ram() -> Machine {
        let machine = Machine::new(Node::default(), power_channel().0);
        let runtime = Extent { offset: 2 << 20, bytes: 4096 };
        let (index, _) = pack(4 << 20, 1 << 20, runtime, &[(runtime.offset, vec![7; 4096])]);
        let form = RamForm::of(index, std::path::Path::new("/nowhere"));
        machine.medium.get_or_init(|| Medium::Ram(form));
        machine
    }

    fn told(machine: &Machine) -> Option<String> {
        machine.node.status.get().errors.get("restart").cloned()
    }

    const SMALL: &str = "volumes: {data: {maxSizeMib: 600}}";

    #[tokio::test]
    async fn what_waits_for_a_restart_is_said_until_it_is_taken_back() {
        let (machine, mut booted) = (in_ram(), Booted::default());
        machine.node.begin(Phase::Volumes);
        booted.take_over(&machine, &in_force(1, "")).await;
        assert_eq!(told(&machine), None);
        let louder = format!("{SMALL}, logging: {{level: debug}}");
        for (generation, settings, waits) in [(2, SMALL, true), (3, &louder, true), (4, "logging: {level: debug}", false)] {
            booted.take_over(&machine, &in_force(generation, settings)).await;
            let told = told(&machine).is_some_and(|message| message.starts_with("machine.volumes"));
            assert_eq!(told, waits, "{settings}");
        }
    }

    #[tokio::test]
    async fn nothing_waits_for_a_restart_before_anything_was_started() {
        let (machine, mut booted) = (in_ram(), Booted::default());
        booted.take_over(&machine, &in_force(1, "")).await;
        booted.take_over(&machine, &in_force(2, SMALL)).await;
        assert_eq!(told(&machine), None);
        machine.node.begin(Phase::Volumes);
        booted.take_over(&machine, &in_force(3, SMALL)).await;
        assert_eq!(told(&machine), None, "the volumes are those of the second");
        booted.take_over(&machine, &in_force(4, "")).await;
        assert!(told(&machine).is_some());
    }
}
