//! Volumes, kernel parameters, modules, watchdog, logging, registries, health.

use super::network::range;
use super::{Findings, Problem, SERVICES, endpoint, pem};
use crate::limits;
use crate::path::join;
use crate::schema::{DiskSelector, Machine, MachineConfig, Registry};

/// Kernel parameters a configuration may not set, and why: the system sets them itself, or they would make the kernel run a program. A
/// name that ends with a dot stands for everything below it.
pub(crate) const RESERVED_SYSCTLS: [(&str, &str); 17] = [
    ("fs.binfmt_misc.", "would let the kernel start interpreters"),
    ("kernel.core_pattern", "can make the kernel run a program"),
    ("kernel.domainname", "is the system's to set"),
    ("kernel.hostname", "is set through `machine.hostname`"),
    ("kernel.hotplug", "makes the kernel run a program"),
    ("kernel.modprobe", "makes the kernel run a program"),
    ("kernel.modules_disabled", "would keep the system from loading its modules"),
    ("kernel.panic", "is the system's to set: a panic must lead to a restart"),
    ("kernel.panic_on_oops", "is the system's to set"),
    ("kernel.poweroff_cmd", "makes the kernel run a program"),
    ("kernel.sysrq", "is the system's to set"),
    ("net.bridge.bridge-nf-call-ip6tables", "is set by the system for Kubernetes"),
    ("net.bridge.bridge-nf-call-iptables", "is set by the system for Kubernetes"),
    ("net.ipv4.conf.all.forwarding", "is `net.ipv4.ip_forward` by another name"),
    ("net.ipv4.ip_forward", "is set by the system for Kubernetes"),
    ("vm.overcommit_memory", "is set by the system for Kubernetes"),
    ("vm.panic_on_oom", "is the system's to set"),
];

/// Every rule about `machine` save its network.
pub(super) fn check(config: &MachineConfig, findings: &mut Findings) {
    let Machine { hostname: _, time, network: _, volumes, sysctls, modules, watchdog, logging, registries, health, install } =
        &config.machine;
    findings.add_repeated("machine.time.servers", &time.servers);
    if let Some(size) = volumes.data.max_size_mib {
        range("machine.volumes.data.maxSizeMib", size, &limits::DATA_MIB, "MiB", findings);
    }
    for name in sysctls.keys() {
        sysctl(name.as_str(), findings);
    }
    for (name, value) in sysctls {
        let expected = "one line of text";
        let path = join("machine.sysctls", name.as_str());
        let one_line = !value.is_empty() && !value.contains(['\n', '\0']);
        findings.add_if(!one_line, &path, Problem::Malformed { value: value.clone(), expected });
    }
    findings.add_repeated("machine.modules", modules);
    if let Some(timeout) = watchdog.timeout_seconds {
        range("machine.watchdog.timeoutSeconds", timeout, &limits::WATCHDOG_SECONDS, "s", findings);
    }
    if let Some(destination) = &logging.destination {
        endpoint::check("machine.logging.destination", destination, endpoint::LOGS, findings);
    }
    for (host, registry) in registries {
        self::registry(host, registry, findings);
    }
    if let Some(deadline) = health.deadline_seconds {
        range("machine.health.deadlineSeconds", deadline, &limits::HEALTH_DEADLINE_SECONDS, "s", findings);
    }
    let known: Vec<&str> = SERVICES.into_iter().filter(|name| *name != "k3s" || config.k3s.is_some()).collect();
    findings.add_unknown("machine.health.services", &health.services, &known);
    findings.add_repeated("machine.health.services", &health.services);
    if let Some(install) = install {
        disk_selector(&install.disk, findings);
    }
}

fn disk_selector(selector: &DiskSelector, findings: &mut Findings) {
    const PATH: &str = "machine.install.disk";
    let DiskSelector { name, serial, model, transport, min_size_mib, max_size_mib } = selector;
    let sized = min_size_mib.is_some() || max_size_mib.is_some();
    let chooses = name.is_some() || serial.is_some() || model.is_some() || transport.is_some() || sized;
    findings.add_if(!chooses, PATH, Problem::ChoosesNoDisk);
    for (key, text) in [("serial", serial), ("model", model)] {
        let expected = "one line of text as the disk tells it (`skerryctl get hardware`)";
        if let Some(text) = text.as_ref().filter(|text| text.trim() != **text || text.is_empty() || text.contains(['\n', '\0'])) {
            findings.add(format!("{PATH}.{key}"), Problem::Malformed { value: text.clone(), expected });
        }
    }
    for (key, size) in [("minSizeMib", min_size_mib), ("maxSizeMib", max_size_mib)] {
        if let Some(size) = *size {
            range(&format!("{PATH}.{key}"), size, &limits::DISK_MIB, "MiB", findings);
        }
    }
    if let (Some(min), Some(max)) = (min_size_mib, max_size_mib) {
        findings.add_if(min > max, PATH, Problem::NoSizeFits { min_mib: *min, max_mib: *max });
    }
}

fn sysctl(name: &str, findings: &mut Findings) {
    let reserved = RESERVED_SYSCTLS.iter().find(|(reserved, _)| {
        let below = reserved.ends_with('.') && name.starts_with(reserved);
        below || name == *reserved
    });
    if let Some((_, reason)) = reserved {
        findings.add(join("machine.sysctls", name), Problem::Reserved { name: name.into(), reason });
    }
}

fn registry(host: &str, registry: &Registry, findings: &mut Findings) {
    let Registry { mirrors, ca, auth, mirrors_only } = registry;
    let path = join("machine.registries", host);
    let expected = "a registry: a host, perhaps with a port, such as `registry.example:5000`";
    findings.add_if(!endpoint::is_host_and_port(host), &path, Problem::Malformed { value: host.into(), expected });
    for (index, mirror) in mirrors.iter().enumerate() {
        endpoint::check(&format!("{path}.mirrors[{index}]"), mirror, endpoint::MIRROR, findings);
    }
    findings.add_repeated(&format!("{path}.mirrors"), mirrors);
    if let Some(ca) = ca {
        pem::check(&format!("{path}.ca"), ca, findings);
    }
    if let Some(auth) = auth {
        let expected = "a user name: at least one character, no colon";
        let fits = !auth.username.is_empty() && !auth.username.contains([':', '\n']);
        findings.add_if(!fits, &format!("{path}.auth.username"), Problem::Malformed { value: auth.username.clone(), expected });
        let password = auth.password.expose();
        let wrong = password.is_empty() || password.contains('\n');
        findings.add_if(wrong, &format!("{path}.auth.password"), Problem::MalformedSecret { expected: "one line of text" });
    }
    let needs = Problem::Needs { needed: "mirrors", reason: "otherwise nothing could be pulled from this registry" };
    findings.add_if(*mirrors_only && mirrors.is_empty(), &format!("{path}.mirrorsOnly"), needs);
}
