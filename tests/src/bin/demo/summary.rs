//! What the demo ends with: sizes, boot phases, services, the container's words, memory, and what to try next.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use api::v1::{self, PhaseState, ServiceState};
use machine_config::DeviceId;
use skerry_tests::node::Node;
use skerry_tests::uki::Uki;

/// The facts of one run.
pub(crate) struct Summary {
    device_id: String,
    image_bytes: u64,
    image_allocated: u64,
    uki_bytes: u64,
    boot: v1::BootTimesResponse,
    services: Vec<v1::Service>,
    memory: v1::Memory,
    pid1_bytes: u64,
    apid_bytes: u64,
    output: String,
}

impl Summary {
    /// Asks the node and looks at the image.
    pub(crate) fn of(node: &Node, image: &Path, output: &str) -> Result<Self> {
        let file = fs::metadata(image).with_context(|| format!("cannot look at {}", image.display()))?;
        let processes = node.processes()?;
        let memory_of = |wanted: &dyn Fn(&v1::Process) -> bool| processes.iter().find(|p| wanted(p)).map_or(0, |p| p.rss_bytes);
        Ok(Self {
            device_id: node.device_id().to_string(),
            image_bytes: file.len(),
            image_allocated: file.blocks() * 512,
            uki_bytes: Uki::read(image)?.len() as u64,
            boot: node.boot_times()?,
            services: node.services()?,
            memory: node.resources()?.memory.context("the node does not know its memory")?,
            pid1_bytes: memory_of(&|process| process.pid == 1),
            apid_bytes: memory_of(&|process| process.command.contains("apid")),
            output: output.trim().to_owned(),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allocated = size(self.image_allocated);
        writeln!(f, "image      {} ({allocated} on disk), of which the UKI {}", size(self.image_bytes), size(self.uki_bytes))?;
        writeln!(f, "device id  {}\n", self.device_id)?;
        self.write_phases(f)?;
        self.write_services(f)?;
        writeln!(f, "container  {}", self.output)?;
        let used = self.memory.total_bytes.saturating_sub(self.memory.available_bytes);
        writeln!(f, "memory     {} of {} in use", size(used), size(self.memory.total_bytes))?;
        writeln!(f, "           {} by PID 1, {} by the API daemon", size(self.pid1_bytes), size(self.apid_bytes))
    }
}

impl Summary {
    fn write_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<11}{:>10}{:>10}  state", "phase", "begins at", "takes")?;
        for phase in &self.boot.phases {
            let begin = seconds(phase.start_usec);
            let takes = if phase.end_usec == 0 { "-".into() } else { seconds(phase.end_usec.saturating_sub(phase.start_usec)) };
            writeln!(f, "{:<11}{begin:>10}{takes:>10}  {}", phase.name, phase_state(phase.state()))?;
        }
        writeln!(f, "the API answered {} after the kernel began\n", seconds(self.boot.api_ready_usec))
    }

    fn write_services(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<11}{:<10}{:>7}{:>10}{:>12}", "service", "state", "pid", "restarts", "memory")?;
        for service in &self.services {
            let (name, state) = (&service.name, state(service));
            let pid = if service.pid == 0 { "-".into() } else { service.pid.to_string() };
            writeln!(f, "{name:<11}{state:<10}{pid:>7}{:>10}{:>12}", service.restarts, size(service.memory_bytes))?;
        }
        writeln!(f)
    }
}

/// A service's state in one word.
pub(crate) fn state(service: &v1::Service) -> &'static str {
    match service.state() {
        ServiceState::Unspecified => "unknown",
        ServiceState::Waiting => "waiting",
        ServiceState::Starting => "starting",
        ServiceState::Ready => "ready",
        ServiceState::Backoff => "back-off",
        ServiceState::Stopping => "stopping",
        ServiceState::Stopped => "stopped",
        ServiceState::Done => "done",
        ServiceState::Failed => "failed",
    }
}

fn phase_state(state: PhaseState) -> &'static str {
    match state {
        PhaseState::Unspecified => "unknown",
        PhaseState::Pending => "pending",
        PhaseState::Running => "running",
        PhaseState::Waiting => "waiting",
        PhaseState::Done => "done",
        PhaseState::Failed => "failed",
    }
}

fn seconds(usec: u64) -> String {
    format!("{}.{:03} s", usec / 1_000_000, usec % 1_000_000 / 1000)
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes / 1024),
        0x10_0000..0x4000_0000 => format!("{} MiB", tenths(0x10_0000)),
        _ => format!("{} GiB", tenths(0x4000_0000)),
    }
}

/// What to try next.
pub(crate) fn next_commands(keep: bool, port: u16, context: &Path, id: &DeviceId) -> String {
    if !keep {
        return "\nNext:\n  make demo KEEP=1               the same, and leave the machine running\n  \
                make run BOARD=qemu-x86_64     boot an image with its console on this terminal\n  \
                make test                      every test, virtual machines included\n"
            .into();
    }
    let command = format!("target/release/skerryctl --context {} --node 127.0.0.1:{port} --device {id}", context.display());
    format!(
        "\nReach it:\n  alias sk='{command}'\n  sk status\n  sk services\n  sk logs k3s -f\n  sk get containers\n  sk dmesg\n  \
         sk poweroff --yes              ends it\n"
    )
}
