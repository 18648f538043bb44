//! `get resources|processes|containers|disks|links|mounts`.

use api::v1;
use serde::Serialize;

use super::hardware::{Disk, Nic, disk_table, link_table};
use super::mirror::{Time, mirror};
use super::units::{bytes, duration_ms};
use super::{Fields, View, table};

mirror! {
    /// Processes.
    Processes = v1::ProcessesResponse {
        processes: Vec<Process>,
    }
}
mirror! {
    /// One process.
    Process = v1::Process {
        pid: u32,
        ppid: u32,
        state: String,
        rss_bytes: u64,
        cpu_ms: u64,
        command: String,
        cgroup: String,
        threads: u32,
    }
}
mirror! {
    /// CPU, memory, disks, links, mounts.
    Resources = v1::ResourcesResponse {
        cpu: Option<Cpu>,
        memory: Option<Memory>,
        disks: Vec<Disk>,
        links: Vec<Nic>,
        mounts: Vec<Mount>,
    }
}
mirror! {
    /// Processor load.
    Cpu = v1::Cpu {
        count: u32,
        load1: f64,
        load5: f64,
        load15: f64,
        busy_ms: u64,
        idle_ms: u64,
    }
}
mirror! {
    /// Memory.
    Memory = v1::Memory {
        total_bytes: u64,
        available_bytes: u64,
        free_bytes: u64,
        cached_bytes: u64,
    }
}
mirror! {
    /// A mounted file system.
    Mount = v1::Mount {
        source: String,
        target: String,
        fs_type: String,
        options: String,
        size_bytes: u64,
        available_bytes: u64,
    }
}
mirror! {
    /// Containers.
    Containers = v1::ContainersResponse {
        containers: Vec<Container>,
    }
}
mirror! {
    /// One container.
    Container = v1::Container {
        id: String,
        name: String,
        image: String,
        state: String,
        pod: String,
        created: Option<Time>,
        attempt: u32,
    }
}

/// The disks among the resources.
#[derive(Debug, Serialize)]
pub(crate) struct Disks {
    pub(crate) disks: Vec<Disk>,
}

/// The links among the resources.
#[derive(Debug, Serialize)]
pub(crate) struct Links {
    pub(crate) links: Vec<Nic>,
}

/// The mounts among the resources.
#[derive(Debug, Serialize)]
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
}

impl View for Disks {
    fn text(&self) -> String {
        disk_table(&self.disks)
    }
}

impl View for Links {
    fn text(&self) -> String {
        link_table(&self.links)
    }
}

impl View for Mounts {
    fn text(&self) -> String {
        mount_table(&self.mounts)
    }
}

impl View for Resources {
    fn text(&self) -> String {
        let mut fields = Fields::new();
        if let Some(cpu) = &self.cpu {
            let load = format!("{:.2} {:.2} {:.2}", cpu.load1, cpu.load5, cpu.load15);
            fields = fields.add("cpus", cpu.count).add("load", load);
            fields = fields.add("busy", duration_ms(cpu.busy_ms)).add("idle", duration_ms(cpu.idle_ms));
        }
        if let Some(memory) = &self.memory {
            let used = memory.total_bytes.saturating_sub(memory.available_bytes);
            fields = fields.add("memory used", format!("{} of {}", bytes(used), bytes(memory.total_bytes)));
            fields = fields.add("free", bytes(memory.free_bytes)).add("cached", bytes(memory.cached_bytes));
        }
        let (disks, links, mounts) = (disk_table(&self.disks), link_table(&self.links), mount_table(&self.mounts));
        format!("{}\n{disks}\n{links}\n{mounts}", fields.text())
    }
}

impl View for Processes {
    fn text(&self) -> String {
        let row = |process: &Process| {
            [
                process.pid.to_string(),
                process.ppid.to_string(),
                process.state.clone(),
                bytes(process.rss_bytes),
                duration_ms(process.cpu_ms),
                process.threads.to_string(),
                process.cgroup.clone(),
                process.command.clone(),
            ]
        };
        table(["PID", "PARENT", "STATE", "MEMORY", "CPU", "THREADS", "CGROUP", "COMMAND"], self.processes.iter().map(row))
    }
}

impl View for Containers {
    fn text(&self) -> String {
        let row = |container: &Container| {
            [
                container.id.chars().take(12).collect(),
                container.name.clone(),
                container.pod.clone(),
                container.state.clone(),
                container.attempt.to_string(),
                container.image.clone(),
                container.created.as_ref().map(|time| time.0.clone()).unwrap_or_default(),
            ]
        };
        table(["CONTAINER", "NAME", "POD", "STATE", "ATTEMPT", "IMAGE", "CREATED"], self.containers.iter().map(row))
    }
}

fn mount_table(mounts: &[Mount]) -> String {
    let row = |mount: &Mount| {
        let sized = mount.size_bytes != 0;
        [
            mount.target.clone(),
            mount.source.clone(),
            mount.fs_type.clone(),
            if sized { bytes(mount.size_bytes) } else { String::new() },
            if sized { bytes(mount.available_bytes) } else { String::new() },
            mount.options.clone(),
        ]
    };
    table(["MOUNT", "SOURCE", "TYPE", "SIZE", "AVAILABLE", "OPTIONS"], mounts.iter().map(row))
}
