//! From a machine configuration to the services of the device: which files they read, and what runs how. Pure, but for [`bring_up`].
//!
//! Nothing here knows a registry, a server or a host that the configuration does not name.

mod apid;
mod containerd;
mod files;
mod images;
mod k3s;

use std::collections::BTreeMap;
use std::path::Path;

use machine_config::schema::MachineConfig;

use self::files::FilePlan;
pub use self::files::{FileError, ManagedFile};
use super::spec::{CgroupMode, KillScope, Resource, Rlimit, ServiceSpec, Stop};
use super::supervisor::Supervisor;
use crate::node::{EventKind, Node};

/// The certificates of public authorities, as the runtime image carries them.
const CA_BUNDLE: &str = "/usr/share/ca-certificates.pem";

/// Where services look for the programs they call.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin";

/// What the open runtime image carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeFacts {
    /// containerd.
    pub containerd: bool,
    /// The importer of image archives.
    pub images: bool,
    /// k3s, or what stands in for it.
    pub k3s: bool,
}

impl RuntimeFacts {
    /// Looks below the mounted runtime image, on a device `/usr`.
    pub fn read(usr: &Path) -> Self {
        let has = |program: &str| usr.join("bin").join(program).is_file();
        Self { containerd: has("containerd"), images: has("skerry-images"), k3s: has("k3s") }
    }
}

/// Everything that follows from one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// What the services read.
    pub files: FilePlan,
    /// What runs, apid included.
    pub specs: Vec<ServiceSpec>,
    /// What the configuration asks for and this image cannot do: subject and one line for a person.
    pub problems: Vec<(String, String)>,
}

/// apid alone: all that runs before there is a configuration or a runtime image.
pub fn apid() -> ServiceSpec {
    apid::spec()
}

/// Chooses files and services.
pub fn plan(config: &MachineConfig, runtime: RuntimeFacts) -> ServicePlan {
    let mut plan = ServicePlan { files: FilePlan::default(), specs: vec![apid()], problems: Vec::new() };
    if runtime.containerd {
        containerd::add(config, &mut plan);
    } else {
        plan.problem("service containerd", "the runtime image carries no containerd: write a complete image to the device");
    }
    if runtime.images && runtime.containerd {
        plan.specs.push(images::spec());
    }
    match (&config.k3s, runtime.k3s) {
        (Some(k3s), true) => k3s::add(config, k3s, &mut plan),
        (Some(_), false) => plan.problem(
            "service k3s",
            "the configuration asks for k3s, but the runtime image carries none: write an image with k3s, or drop `k3s` from the \
             configuration",
        ),
        (None, _) => k3s::withdraw(&mut plan),
    }
    plan
}

/// Plans, writes the files below `root` (on a device `/`), shows the problems and tells the supervisor what is wanted.
///
/// Called again with another configuration it changes what differs and nothing else.
pub async fn bring_up(
    config: &MachineConfig,
    runtime: RuntimeFacts,
    root: &Path,
    supervisor: &Supervisor,
    node: &Node,
) -> Result<(), FileError> {
    let mut plan = plan(config, runtime);
    std::mem::take(&mut plan.files).write_apart(root).await?;
    node.status.update(|status| {
        for subject in ["service containerd", "service k3s"] {
            status.set_error(subject, None);
        }
        for (subject, problem) in &plan.problems {
            status.set_error(subject, Some(problem.clone()));
        }
    });
    for (subject, problem) in &plan.problems {
        node.events.record(EventKind::Service, subject, problem);
    }
    supervisor.ensure(plan.specs);
    Ok(())
}

impl ServicePlan {
    fn problem(&mut self, subject: &str, what: &str) {
        self.problems.push((subject.to_owned(), what.to_owned()));
    }
}

/// What containerd and k3s have in common: they start containers, which outlive them, and make cgroups.
fn container_daemon(name: &str, argv: &[&str]) -> ServiceSpec {
    ServiceSpec {
        env: environment(),
        cgroup: CgroupMode::Delegated,
        stop: Stop { scope: KillScope::Process, ..Stop::default() },
        rlimits: vec![
            // Go raises the soft limit for itself and gives the old one to its children, so containers see a sane one.
            Rlimit { resource: Resource::OpenFiles, soft: 1024, hard: 1 << 20 },
            Rlimit { resource: Resource::CoreBytes, soft: 0, hard: 0 },
        ],
        ..ServiceSpec::daemon(name, argv)
    }
}

fn environment() -> BTreeMap<String, String> {
    [("PATH", SEARCH_PATH), ("SSL_CERT_FILE", CA_BUNDLE), ("HOME", "/var/lib")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
