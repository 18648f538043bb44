//! Carrying an accepted configuration into the running system: what can change live changes, the rest restarts or reboots.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use machine_config::schema::MachineConfig;
use machine_config::{Effect, compare};

use super::machine::{Machine, Medium};
use crate::node::{EventKind, InForce, PowerKind};
use crate::services::definitions;

/// Waits for configurations, for ever. The first one lets the boot go on; each later one is compared with the one before.
pub(super) async fn run(machine: Rc<Machine>) {
    let mut changes = machine.config.subscribe();
    let mut old: Option<MachineConfig> = None;
    while changes.changed().await.is_ok() {
        let Some(new) = machine.config.current() else { continue };
        let carried = AssertUnwindSafe(take_over(&machine, old.as_ref(), &new)).catch_unwind().await;
        if carried.is_err() {
            let message = "init has a defect and did not carry all of it out; reboot the device".to_owned();
            machine.node.status.update(|status| status.set_error("config", Some(message)));
        }
        old = Some(new.config.clone());
    }
}

async fn take_over(machine: &Machine, old: Option<&MachineConfig>, new: &InForce) {
    apply_live(machine, &new.config).await;
    if let Some(old) = old {
        carry_over(machine, old, &new.config, new.generation).await;
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
async fn carry_over(machine: &Machine, old: &MachineConfig, new: &MachineConfig, generation: u64) {
    let changes = compare(Some(old), new);
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
