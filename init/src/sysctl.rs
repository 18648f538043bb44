//! Kernel parameters: a pure plan of names and values, and a writer that reports each one it could not set.
//!
//! The system's own values are what Kubernetes demands and what a device nobody logs in to should have. A configuration may add and change
//! parameters; those the system depends on are refused long before they come here (`machine-config`'s semantics).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use machine_config::schema::MachineConfig;

/// What every device has. The kubelet refuses to start under `protectKernelDefaults` unless the marked ones are exactly so.
const SYSTEM: [(&str, &str); 14] = [
    ("fs.inotify.max_user_instances", "8192"),
    ("fs.inotify.max_user_watches", "524288"),
    ("kernel.keys.root_maxbytes", "25000000"), // kubelet
    ("kernel.keys.root_maxkeys", "1000000"),   // kubelet
    ("kernel.panic", "10"),                    // kubelet; a panic leads to a restart
    ("kernel.panic_on_oops", "1"),             // kubelet
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    // Taking the first of two addresses of one network away must not take the second along.
    ("net.ipv4.conf.all.promote_secondaries", "1"),
    ("net.ipv4.conf.default.promote_secondaries", "1"),
    ("net.ipv4.ip_forward", "1"),
    ("vm.max_map_count", "262144"),
    ("vm.overcommit_memory", "1"), // kubelet
    ("vm.panic_on_oom", "0"),      // kubelet
];

/// What a device nobody logs in to has from its first second on, where the kernel knows it. A configuration may set another value later.
const HARDENING: [(&str, &str); 15] = [
    ("dev.tty.ldisc_autoload", "0"),
    ("fs.protected_fifos", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_regular", "2"),
    ("fs.protected_symlinks", "1"),
    ("fs.suid_dumpable", "0"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.kexec_load_disabled", "1"), // another kernel comes through the boot loader or not at all
    ("kernel.kptr_restrict", "1"),
    ("kernel.modprobe", ""), // init loads modules; the kernel need not look for a program that does
    ("kernel.sysrq", "0"),   // a keyboard on the counter must not be able to stop the machine
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("kernel.yama.ptrace_scope", "1"),
    ("net.core.bpf_jit_harden", "1"),
    ("vm.unprivileged_userfaultfd", "0"),
];

/// Parameters below these exist only while a module is loaded.
const OF_MODULES: [&str; 2] = ["net.bridge.", "net.netfilter."];

/// Parameters and their values, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlPlan(BTreeMap<String, String>);

/// Chooses the values: the system's, then the configuration's over them.
pub fn plan(config: Option<&MachineConfig>) -> SysctlPlan {
    let mut values: BTreeMap<String, String> = SYSTEM.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let configured = config.into_iter().flat_map(|config| &config.machine.sysctls);
    values.extend(configured.map(|(name, value)| (name.to_string(), value.clone())));
    SysctlPlan(values)
}

/// The values of the first second.
pub fn hardening() -> SysctlPlan {
    SysctlPlan(HARDENING.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// Why a parameter is not as planned.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The kernel does not know it.
    #[error("cannot set {name}: this kernel has no such parameter")]
    Absent {
        /// Which.
        name: String,
    },
    /// The kernel does not take the value.
    #[error("cannot set {name} to `{value}`: {source}")]
    Refused {
        /// Which.
        name: String,
        /// What it was to be.
        value: String,
        /// Why not.
        source: io::Error,
    },
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct SysctlReport {
    /// Names that were changed.
    pub changed: Vec<String>,
    /// Names whose module is not loaded yet: carry the plan out again when it is.
    pub awaited: Vec<String>,
    /// What could not be set.
    pub errors: Vec<SysctlError>,
}

/// Carries the plan out below `root` (`/proc/sys`), every parameter by itself. What is already so is left alone.
pub fn apply(root: &Path, plan: &SysctlPlan) -> SysctlReport {
    let mut report = SysctlReport::default();
    for (name, value) in &plan.0 {
        let path = path_of(root, name);
        match std::fs::read_to_string(&path) {
            Ok(current) if same(&current, value) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if OF_MODULES.iter().any(|prefix| name.starts_with(prefix)) {
                    report.awaited.push(name.clone());
                } else {
                    report.errors.push(SysctlError::Absent { name: name.clone() });
                }
            }
            // Some parameters can be written and not read.
            Ok(_) | Err(_) => match write(&path, value) {
                Ok(()) => report.changed.push(name.clone()),
                Err(source) => report.errors.push(SysctlError::Refused { name: name.clone(), value: value.clone(), source }),
            },
        }
    }
    report
}

/// A dot is a folder. `SysctlName` allows no empty part and no slash, so the path stays below the root.
fn path_of(root: &Path, name: &str) -> PathBuf {
    name.split('.').fold(root.to_owned(), |path, part| path.join(part))
}

/// The kernel writes several values with tabs between them.
fn same(current: &str, value: &str) -> bool {
    current.split_whitespace().eq(value.split_whitespace())
}

/// One write of the whole value; the file is never created.
fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;

    let mut file = std::fs::File::options().write(true).open(path)?;
    file.write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::config;

    fn kernel(parameters: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temp folder");
        for (name, value) in parameters {
            let path = path_of(root.path(), name);
            std::fs::create_dir_all(path.parent().expect("it is below the root")).expect("it can be made");
            std::fs::write(path, value).expect("it can be written");
        }
        root
    }

    fn only(pairs: &[(&str, &str)]) -> SysctlPlan {
        SysctlPlan(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn the_configuration_adds_and_changes() {
        let mut config = config(vec![]);
        config.machine.sysctls = [("fs.inotify.max_user_watches", "7"), ("net.core.somaxconn", "1024")]
            .map(|(name, value)| (name.parse().expect("valid"), value.to_owned()))
            .into();
        let plan = plan(Some(&config)).0;
        assert_eq!(plan["fs.inotify.max_user_watches"], "7");
        assert_eq!(plan["net.core.somaxconn"], "1024");
        assert_eq!(plan["net.ipv4.ip_forward"], "1");
        assert_eq!(plan.len(), SYSTEM.len() + 1);
    }

    #[test]
    fn every_name_of_the_system_is_one() {
        for (name, _) in SYSTEM.iter().chain(&HARDENING) {
            assert!(name.parse::<machine_config::types::SysctlName>().is_ok(), "{name}");
        }
        assert!(SYSTEM.is_sorted() && HARDENING.is_sorted(), "each stands once");
        assert!(!HARDENING.iter().any(|(name, _)| SYSTEM.iter().any(|(other, _)| name == other)), "and in one table");
    }

    #[test]
    fn what_is_already_so_is_left_alone() {
        let root = kernel(&[("net.ipv4.tcp_rmem", "4096\t131072\t6291456\n"), ("vm.swappiness", "60\n")]);
        let report = apply(root.path(), &only(&[("net.ipv4.tcp_rmem", "4096 131072 6291456"), ("vm.swappiness", "10")]));
        assert_eq!(report.changed, ["vm.swappiness"]);
        assert_eq!(std::fs::read_to_string(root.path().join("vm/swappiness")).expect("it is there"), "10\n");
    }

    #[test]
    fn a_parameter_can_be_emptied() {
        let root = kernel(&[("kernel.modprobe", "/sbin/modprobe\n")]);
        assert_eq!(apply(root.path(), &hardening()).changed, ["kernel.modprobe"]);
        // Unlike the kernel's, this file keeps what lies behind the write.
        assert!(std::fs::read_to_string(root.path().join("kernel/modprobe")).expect("it is there").starts_with('\n'));
    }

    #[test]
    fn one_bad_parameter_does_not_stop_the_others() {
        let root = kernel(&[("vm.swappiness", "60\n"), ("kernel.folder.x", "")]);
        let plan = only(&[("kernel.folder", "1"), ("net.bridge.x", "1"), ("no.such", "1"), ("vm.swappiness", "10")]);
        let report = apply(root.path(), &plan);
        assert_eq!(report.changed, ["vm.swappiness"]);
        assert_eq!(report.awaited, ["net.bridge.x"], "its module may be loaded later");
        let errors: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
        assert!(errors[0].starts_with("cannot set kernel.folder to `1`: "), "{errors:?}");
        assert_eq!(errors[1], "cannot set no.such: this kernel has no such parameter");
        assert!(!root.path().join("no/such").exists(), "nothing is created");
    }
}
