//! Phase `devices`: what this system runs from. That is its own RAM, when the image lies there; else the boot disk, as the drivers that `early` began to
//! load bring it. That wait is bounded; a disk that comes later is taken all the same.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;

use super::super::machine::{Machine, Medium};
use super::blocking;
use crate::devices::{Choice, choose, look};
use crate::modules::Hotplug;
use crate::node::{EventKind, Phase, RunsFrom};
use crate::power::watch_buttons;
use crate::ram::RamForm;
use crate::verity::RuntimeSeal;

/// A USB disk needs a few seconds, a large SAS enclosure half a minute.
const PATIENCE: Duration = Duration::from_secs(40);

pub(in crate::boot) async fn devices(machine: Rc<Machine>) -> anyhow::Result<()> {
    let line = std::fs::read_to_string("/proc/cmdline").context("cannot read the kernel's command line")?;
    let seal = RuntimeSeal::from_command_line(&line)?;
    let hotplug = Machine::product(&machine.hotplug);
    tokio::spawn(watch_buttons(machine.power.clone(), hotplug.changes()));
    let medium = match blocking(|| RamForm::find(Path::new("/"))).await?? {
        Some(form) => Medium::Ram(run_from_ram(&machine, form, seal.clone()).await?),
        None => {
            let choice = find(&machine, &hotplug, &seal).await?;
            tell(&machine, &choice);
            Medium::Disk(choice.disk)
        }
    };
    machine.seal.get_or_init(|| seal);
    machine.medium.get_or_init(|| medium);
    Ok(())
}

/// The image in RAM, when it is the kernel's own.
async fn run_from_ram(machine: &Machine, form: RamForm, seal: RuntimeSeal) -> anyhow::Result<RamForm> {
    let form = blocking(move || form.check_seal(&seal).map(|()| form)).await??;
    tracing::info!(image_mib = form.index.mapped_bytes() >> 20, "running from RAM");
    machine.node.status.update(|status| status.runs_from = RunsFrom::Ram);
    Ok(form)
}

/// Looks each time a device comes. After the deadline the phase has failed, visibly, and goes on looking.
async fn find(machine: &Machine, hotplug: &Hotplug, seal: &RuntimeSeal) -> anyhow::Result<Choice> {
    let mut changes = hotplug.changes();
    let deadline = tokio::time::sleep(PATIENCE);
    tokio::pin!(deadline);
    let mut late = false;
    loop {
        changes.mark_unchanged();
        let looked_for = seal.clone();
        // A disk that is about to die answers slowly.
        let disks = blocking(move || look(Path::new("/sys"), &looked_for)).await?;
        let missing = match choose(&disks, &seal.root_hex()) {
            Ok(choice) => return Ok(choice),
            Err(missing) => missing,
        };
        if late {
            machine.node.failed(Phase::Devices, &missing.to_string());
        }
        tokio::select! {
            changed = changes.changed() => changed.context("the listener for devices ended; reboot the device")?,
            () = &mut deadline, if !late => late = true,
        }
    }
}

fn tell(machine: &Machine, choice: &Choice) {
    let name = &choice.disk.name;
    tracing::info!(disk = name, runtime = choice.disk.runtime, "boot disk found");
    machine.node.status.update(|status| status.runs_from = RunsFrom::Disk(name.clone()));
    if !choice.others.is_empty() {
        let others = choice.others.join(", ");
        let message = format!("{name} chosen; {others} hold the same image: remove the disk that is not meant");
        machine.node.events.record(EventKind::Device, name, &message);
        tracing::warn!(message, "several boot disks");
    }
}
