//! Phases `services` and `healthy`: everything that runs, and whether what counts is up.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use machine_config::schema::MachineConfig;

use super::super::machine::Machine;
use crate::modules::{BOOT_FOLDER, Index, RUNTIME_FOLDER};
use crate::node::{ConfigHandle, EventKind, Node, Phase};
use crate::services::definitions::RuntimeFacts;
use crate::services::machine::ServiceStatus;
use crate::services::{Snapshot, Supervisor, definitions};
use crate::sysctl;

/// From the phase's begin; k3s on a slow device unpacks itself and imports its images first.
const PATIENCE: Duration = Duration::from_secs(600);

/// The snapshotter's file system.
const CONTAINERD_MODULE: &str = "overlay";

/// The service that waits for the rest of the modules.
const K3S: &str = "k3s";

pub(in crate::boot) async fn services(machine: Rc<Machine>) -> anyhow::Result<()> {
    let config = machine.in_force().context("no configuration is in force")?;
    let runtime = Machine::product(&machine.runtime);
    let supervisor = Machine::product(&machine.supervisor);
    let names = runtime_modules(&machine).await;
    start_containerd(&machine, &supervisor).await?;
    load(&machine, &names).await;
    prepare_kernel(&machine, &config).await;
    // Another configuration may have come meanwhile.
    let planning = machine.planning.lock().await;
    let config = machine.in_force().context("no configuration is in force")?;
    definitions::bring_up(&config, runtime, Path::new("/"), &supervisor, &machine.node).await?;
    drop(planning);
    let specs =
        move |config: &MachineConfig| definitions::plan(config, runtime).specs.into_iter().map(|spec| spec.name).collect();
    wait_for_all(&machine, &supervisor, Phase::Services, specs).await
}

/// Modules nothing asks for by itself: there is no modprobe in the image, so containers and k3s find them loaded.
async fn runtime_modules(machine: &Machine) -> Vec<String> {
    let hotplug = Machine::product(&machine.hotplug);
    let mut names = Index::load(Path::new(BOOT_FOLDER)).map(|index| index.runtime).unwrap_or_default();
    match hotplug.add_folder(Path::new(RUNTIME_FOLDER)).await {
        Ok(runtime) => names.extend(runtime),
        // A runtime image without modules of its own: a kernel that has all built in.
        Err(error) => tracing::info!(%error, "no modules in the runtime image"),
    }
    names
}

async fn load(machine: &Machine, names: &[String]) {
    let hotplug = Machine::product(&machine.hotplug);
    for error in hotplug.load(names.iter().map(String::as_str)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "module");
    }
    hotplug.coldplug();
}

/// containerd needs one module, k3s a hundred: so containerd starts while those are being loaded.
async fn start_containerd(machine: &Machine, supervisor: &Supervisor) -> anyhow::Result<()> {
    load(machine, &[CONTAINERD_MODULE.to_owned()]).await;
    let _planning = machine.planning.lock().await;
    let config = machine.in_force().context("no configuration is in force")?;
    let plan = definitions::plan(&config, Machine::product(&machine.runtime));
    plan.files.write_apart(Path::new("/")).await?;
    supervisor.ensure(plan.specs.into_iter().filter(|spec| spec.name != K3S).collect());
    Ok(())
}

/// The configuration's modules and kernel parameters. What fails is shown, and the rest goes on.
pub(in crate::boot) async fn prepare_kernel(machine: &Machine, config: &MachineConfig) {
    let hotplug = Machine::product(&machine.hotplug);
    let failed = hotplug.load(config.machine.modules.iter().map(machine_config::types::ModuleName::as_str)).await;
    show(&machine.node, "machine.modules", &failed.iter().map(ToString::to_string).collect::<Vec<_>>());
    let report = sysctl::apply(Path::new("/proc/sys"), &sysctl::plan(Some(config)));
    let mut failed: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    failed.extend(report.awaited.iter().map(|name| format!("cannot set {name}: no loaded module has it")));
    show(&machine.node, "machine.sysctls", &failed);
}

fn show(node: &Node, subject: &str, errors: &[String]) {
    for error in errors {
        node.events.record(EventKind::Config, subject, error);
    }
    let text = (!errors.is_empty()).then(|| errors.join("; "));
    node.status.update(|status| status.set_error(subject, text));
}

/// Waits until all that the configuration in force wants are up. When the deadline passes the phase has failed, visibly, and goes on
/// waiting: a service may recover, a configuration may change.
async fn wait_for_all(
    machine: &Machine,
    supervisor: &Supervisor,
    phase: Phase,
    wanted: impl Fn(&MachineConfig) -> BTreeSet<String>,
) -> anyhow::Result<()> {
    let (mut board, mut config) = (supervisor.subscribe(), machine.config.subscribe());
    let deadline = tokio::time::sleep(PATIENCE);
    tokio::pin!(deadline);
    let mut late = false;
    loop {
        let names = config.borrow_and_update().as_ref().map(|current| wanted(&current.config)).unwrap_or_default();
        let missing = missing(&names, &board.borrow_and_update());
        if missing.is_empty() {
            return Ok(());
        }
        let what = missing.join(", ");
        if late {
            machine.node.failed(phase, &format!("not ready in time: {what}; see `skerryctl services` and the logs"));
        } else {
            machine.node.waiting(phase, &what);
        }
        tokio::select! {
            changed = board.changed() => changed.context("the supervisor ended; reboot the device")?,
            changed = config.changed() => changed.context("the configuration's task ended; reboot the device")?,
            () = &mut deadline, if !late => late = true,
        }
    }
}

/// Wanted services that are not up, in order.
fn missing(wanted: &BTreeSet<String>, snapshot: &Snapshot) -> Vec<String> {
    let up = |name: &&String| snapshot.services.iter().any(|service| &&service.name == name && ServiceStatus::is_up(service));
    wanted.iter().filter(|name| !up(name)).cloned().collect()
}

pub(in crate::boot) async fn healthy(machine: Rc<Machine>) -> anyhow::Result<()> {
    let supervisor = Machine::product(&machine.supervisor);
    let runtime = Machine::product(&machine.runtime);
    wait_for_all(&machine, &supervisor, Phase::Healthy, move |config| services_that_count(config, runtime)).await?;
    machine.node.status.update(|status| status.healthy = true);
    tokio::spawn(follow_health(machine.node.clone(), machine.config.clone(), supervisor, runtime));
    Ok(())
}

/// After the boot, health follows the services, for ever.
async fn follow_health(node: Node, config: ConfigHandle, supervisor: Supervisor, runtime: RuntimeFacts) {
    let mut board = supervisor.subscribe();
    while board.changed().await.is_ok() {
        let wanted = config.current().map(|current| services_that_count(&current.config, runtime)).unwrap_or_default();
        let healthy = missing(&wanted, &board.borrow_and_update()).is_empty();
        node.status.update(|status| status.healthy = healthy);
    }
    // Nobody looks after the services any more.
    node.status.update(|status| status.healthy = false);
}

/// `machine.health.services`, or all that are configured: also one this image does not have, which is why it is not healthy.
fn services_that_count(config: &MachineConfig, runtime: RuntimeFacts) -> BTreeSet<String> {
    let named = &config.machine.health.services;
    if !named.is_empty() {
        return named.iter().cloned().collect();
    }
    let plan = definitions::plan(config, runtime);
    let lacking = plan.problems.iter().filter_map(|(subject, _)| subject.strip_prefix("service ")).map(str::to_owned);
    plan.specs.iter().map(|spec| spec.name.clone()).chain(lacking).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{any: true}}\n{extra}"
        );
        machine_config::parse(text.as_bytes()).expect("a document")
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_service_the_image_lacks_keeps_the_device_from_being_healthy() {
        let runtime = RuntimeFacts { containerd: true, images: true, k3s: false };
        let wanted = services_that_count(&config("k3s: {role: server}\n"), runtime);
        assert_eq!(names(&wanted), ["apid", "containerd", "images", "k3s"]);
        assert_eq!(missing(&wanted, &Snapshot::default()), ["apid", "containerd", "images", "k3s"]);
    }

    #[test]
    fn the_configuration_may_name_what_counts() {
        let runtime = RuntimeFacts { containerd: true, images: true, k3s: true };
        let wanted = services_that_count(&config("machine: {health: {services: [containerd]}}\n"), runtime);
        assert_eq!(names(&wanted), ["containerd"]);
    }
}
