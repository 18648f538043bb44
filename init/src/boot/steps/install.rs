//! Phase `install`: a system in RAM puts itself on the disk that `machine.install` names, and restarts. On a disk there is nothing to do.
//!
//! It waits visibly for as long as no disk is right: another configuration or another disk makes it look again.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use machine_config::schema::{Install, MachineConfig};
use machine_config::seed::{self, Seed};
use machine_config::{Digest, IdentitySeed};
use tokio::sync::watch;

use super::super::machine::{Machine, Medium};
use super::blocking;
use crate::boot::guarded;
use crate::early::mount_firmware_variables;
use crate::install::{
    self, Choice, DiskFacts, Ending, Installer, Progress, Settling, Verdict, choose, describe, disk_names, look,
};
use crate::node::{EventKind, InForce, Node, Phase, PhaseState, PowerKind, RunsFrom, Times};
use crate::ram::RamForm;

/// For reading the line on the screen and taking the medium out.
const BEFORE_RESTART: Duration = Duration::from_secs(10);

/// The screen shows each so many per cent: a serial line is slow.
const STEP_PERCENT: u64 = 5;

pub(in crate::boot) async fn install(machine: Rc<Machine>) -> anyhow::Result<()> {
    match Machine::product(&machine.medium) {
        Medium::Disk(_) => Ok(()),
        Medium::Ram(form) => pursue(&machine, &form).await,
    }
}

/// A system that came up in RAM without `machine.install`, or could not begin with it, and is given one later: installs all the same, beside its
/// services. For ever.
pub(in crate::boot) async fn install_later(machine: Rc<Machine>) {
    let mut times = machine.node.times.subscribe();
    let mut config = machine.config.subscribe();
    while times.wait_for(has_ended).await.is_ok() {
        let Medium::Ram(form) = Machine::product(&machine.medium) else { return std::future::pending().await };
        if config.changed().await.is_err() {
            return;
        }
        guarded(Phase::Install, &machine.node, pursue(&machine, &form)).await;
    }
}

/// Well or not: in both cases another configuration is tried.
fn has_ended(times: &Times) -> bool {
    matches!(times.get(Phase::Install).state, PhaseState::Done | PhaseState::Failed(_))
}

/// Says on a system that runs from its disk that `machine.install` has no effect there.
pub(in crate::boot) fn tell_inert(node: &Node, config: &MachineConfig) {
    node.status.update(|status| {
        if let (RunsFrom::Disk(name), true) = (&status.runs_from, config.machine.install.is_some()) {
            status.install = format!("machine.install has no effect: this system runs from {name}");
        } else if matches!(status.runs_from, RunsFrom::Disk(_)) {
            status.install.clear();
        }
    });
}

/// What became of one try.
enum Outcome {
    /// It is on this disk.
    Done(String),
    /// It was there before.
    Already(String),
    /// Another configuration came into force meanwhile.
    Outdated,
    /// No disk may be written; why.
    Refused(String),
}

/// Tries until it is installed, and then restarts; ends when the configuration asks for no installation.
async fn pursue(machine: &Machine, form: &RamForm) -> anyhow::Result<()> {
    // A try that failed is not over: it waits for another configuration or disk itself.
    let _alone = machine.installing.lock().await;
    let (mut config, mut disks) = (machine.config.subscribe(), Machine::product(&machine.hotplug).changes());
    // Built into some kernels: the mounts tell. One is for looking into an installed STATE, the other for knowing the own medium.
    let _ = Machine::product(&machine.hotplug).load(["ext4", "efivarfs"]).await;
    mount_firmware_variables()?;
    loop {
        let in_force = config.borrow_and_update().clone().context("no configuration is in force")?;
        let Some(wanted) = in_force.config.machine.install.clone() else {
            machine.node.status.update(|status| status.install.clear());
            return Ok(());
        };
        if machine.node.times.get(Phase::Install).state != PhaseState::Running {
            machine.node.begin(Phase::Install);
        }
        let (settling, ending) = settle(&machine.node, &mut disks).await?;
        let tried = match ending {
            Ending::Restless => Ok(Outcome::Refused(restless(&settling))),
            Ending::Complete => attempt(machine, form, wanted, &in_force).await,
        };
        match tried {
            Ok(Outcome::Done(disk)) => {
                tokio::select! {
                    never = restart(machine, &disk) => match never {},
                    // Accepted, and not on the disk yet: a restart would forget it.
                    changed = config.changed() => changed.context("the configuration's task ended; reboot the device")?,
                }
                continue;
            }
            Ok(Outcome::Already(disk)) => wait(&machine.node, "the medium to be removed and a restart", &already(&disk)),
            Ok(Outcome::Refused(why)) => wait(&machine.node, "a disk to install on", &format!("not installing: {why}")),
            Ok(Outcome::Outdated) => continue,
            Err(error) => fail(&machine.node, &error),
        }
        tokio::select! {
            changed = config.changed() => changed.context("the configuration's task ended; reboot the device")?,
            changed = other_disks(&mut disks, settling.disks()) => changed?,
        }
    }
}

/// Returns when there are other disks than these. Links and buttons come and go as well.
async fn other_disks(changes: &mut watch::Receiver<u64>, seen: &[String]) -> anyhow::Result<()> {
    while disk_names() == seen {
        changes.changed().await.context("the listener for devices ended; reboot the device")?;
    }
    Ok(())
}

fn already(disk: &str) -> String {
    format!("already installed on {disk} with this configuration: remove the medium, or start from the disk first, and restart")
}

fn restless(settling: &Settling) -> String {
    format!("disks keep coming and going (now: {}); see to the one that is loose or failing, or take it out", settling.listed())
}

/// Returns when the wait for disks is over, and says meanwhile what it waits for.
async fn settle(node: &Node, disks: &mut watch::Receiver<u64>) -> anyhow::Result<(Settling, Ending)> {
    disks.mark_unchanged();
    let mut settling = Settling::new(Instant::now(), disk_names());
    loop {
        say(node, &settling.to_string());
        let until = match settling.verdict(Instant::now()) {
            Verdict::Wait(until) => until,
            Verdict::Over(ending) => return Ok((settling, ending)),
        };
        if let Ok(changed) = tokio::time::timeout_at(until.into(), disks.changed()).await {
            changed.context("the listener for devices ended; reboot the device")?;
            settling.changed(Instant::now(), disk_names());
        }
    }
}

async fn attempt(machine: &Machine, form: &RamForm, wanted: Install, in_force: &InForce) -> anyhow::Result<Outcome> {
    let seed = seed_of(machine)?;
    let config = seed.config.as_deref().map(Digest::of).context("the accepted configuration is not in STATE")?;
    let device = seed.identity.as_ref().map(IdentitySeed::device_id).context("there is no identity")?;
    if config.as_str() != in_force.digest {
        return Ok(Outcome::Outdated);
    }
    let generation = in_force.config.metadata.generation;
    let installer = Installer { config, generation, fleet: seed.fleet.clone(), device };
    let (form, node) = (form.clone(), machine.node.clone());
    let handle = machine.config.clone();
    let digest = in_force.digest.clone();
    // The last moment to notice: once the table is written, the disk is a device of its own.
    let still = move || handle.current().is_some_and(|current| current.digest == digest);
    blocking(move || {
        let disks = look(&wanted.disk);
        let disk = match choose(&wanted, &installer, &disks) {
            Ok(Choice::Write(disk)) => disk,
            Ok(Choice::Already(disk)) => return Ok(Outcome::Already(describe(disk))),
            Err(refusal) => return Ok(Outcome::Refused(refusal.to_string())),
        };
        lay_down(&node, &form, &seed, disk, &still)
    })
    .await?
}

/// SEED of the disk: what this system was started with, the configuration it accepted, and its identity, so that it stays the same device.
fn seed_of(machine: &Machine) -> anyhow::Result<Seed> {
    let from_seed = machine.seed.get().and_then(|from_seed| from_seed.seed.clone()).context("there is no SEED to go on with")?;
    let accepted = machine.store.get().context("STATE is not open")?.accepted()?;
    let identity: Option<IdentitySeed> = machine.identity.borrow().as_ref().map(crate::state::Identity::to_seed);
    Ok(Seed { config: accepted.map(|accepted| accepted.bytes), identity, ..from_seed })
}

/// Everything that waits for the disk.
fn lay_down(node: &Node, form: &RamForm, seed: &Seed, disk: &DiskFacts, still: &dyn Fn() -> bool) -> anyhow::Result<Outcome> {
    let blocks = form.open()?;
    let name = describe(disk);
    let plan = match install::plan(&form.index, &blocks, seed::encode(seed)?, disk.bytes) {
        Ok(plan) => plan,
        Err(error @ install::PlanError::TooSmall(_)) => return Ok(Outcome::Refused(format!("{name}: {error}"))),
        Err(error) => return Err(error.into()),
    };
    if !still() {
        return Ok(Outcome::Outdated);
    }
    node.events.record(EventKind::Device, &disk.name, &format!("installing on {name}"));
    tracing::info!(disk = name, "installing");
    let mut shown = None;
    let report = |progress: Progress| {
        let percent = progress.percent() / STEP_PERCENT * STEP_PERCENT;
        if shown.replace(percent) != Some(percent) {
            say(node, &format!("installing on {name}: {percent} %"));
        }
    };
    install::install(&form.index, &blocks, &plan, disk, report).with_context(|| format!("cannot install on {name}"))?;
    node.events.record(EventKind::Device, &disk.name, &format!("installed on {name}, and read back"));
    // A configuration that came meanwhile is not on the disk: it is laid down again, which is allowed while the disk never started.
    Ok(if still() { Outcome::Done(name) } else { Outcome::Outdated })
}

/// Never returns: the machine goes down.
async fn restart(machine: &Machine, disk: &str) -> Infallible {
    let seconds = BEFORE_RESTART.as_secs();
    let text = format!("installed on {disk}; remove the medium: rebooting in {seconds} s");
    tracing::info!(text, "installed");
    wait(&machine.node, "the restart", &text);
    tokio::time::sleep(BEFORE_RESTART).await;
    machine.power.request(PowerKind::Reboot, &format!("the installation on {disk}"));
    std::future::pending().await
}

fn say(node: &Node, text: &str) {
    node.status.update(|status| text.clone_into(&mut status.install));
}

fn wait(node: &Node, what: &str, text: &str) {
    say(node, text);
    node.events.record(EventKind::Device, "install", text);
    node.waiting(Phase::Install, what);
}

fn fail(node: &Node, error: &anyhow::Error) {
    say(node, "failed; another configuration or another disk starts it again");
    node.failed(Phase::Install, &format!("{error:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(machine: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{any: true}}\n{machine}"
        );
        machine_config::parse(text.as_bytes()).expect("a document")
    }

    #[test]
    fn an_installed_system_says_that_it_does_not_install() {
        let node = Node::default();
        node.status.update(|status| status.runs_from = RunsFrom::Disk("nvme0n1".into()));
        tell_inert(&node, &config("machine: {install: {disk: {transport: nvme}}}\n"));
        assert_eq!(node.status.get().install, "machine.install has no effect: this system runs from nvme0n1");
        tell_inert(&node, &config(""));
        assert_eq!(node.status.get().install, "");
    }

    #[test]
    fn what_a_system_in_ram_says_of_its_installation_is_left_alone() {
        let node = Node::default();
        node.status.update(|status| status.runs_from = RunsFrom::Ram);
        say(&node, "installing");
        tell_inert(&node, &config("machine: {install: {disk: {transport: nvme}}}\n"));
        assert_eq!(node.status.get().install, "installing");
    }

    #[test]
    fn another_configuration_is_tried_after_a_failure_too() {
        let node = Node::default();
        let over = || has_ended(&node.times.snapshot());
        assert!(!over());
        node.begin(Phase::Install);
        assert!(!over());
        node.waiting(Phase::Install, "a disk");
        assert!(!over());
        node.failed(Phase::Install, "no memory");
        assert!(over());
        node.done(Phase::Install);
        assert!(over());
    }

    #[tokio::test]
    async fn a_listener_that_ended_ends_the_wait_for_disks() {
        let (count, mut changes) = watch::channel(0_u64);
        drop(count);
        let node = Node::default();
        let error = settle(&node, &mut changes).await.expect_err("nobody will tell").to_string();
        assert_eq!(error, "the listener for devices ended; reboot the device");
        assert!(node.status.get().install.starts_with("waiting until all disks are there"), "{}", node.status.get().install);
    }
}
