//! What each phase of the table does, one file per phase.

mod api;
mod config;
mod devices;
mod early;
mod network;
mod services;
mod state;
mod volumes;

pub(super) use api::api;
pub(super) use config::config;
pub(super) use devices::devices;
pub(super) use early::early;
pub(super) use network::network;
pub(super) use services::{healthy, prepare_kernel, services};
pub(super) use state::state;
pub(super) use volumes::volumes;

use std::path::Path;

use anyhow::Context;
use rustix::mount::{MountFlags, mount};

/// Mounts a file system that lies on a device.
fn mount_device(device: &Path, target: &str, fs_type: &str, flags: MountFlags) -> anyhow::Result<()> {
    std::fs::create_dir_all(target).with_context(|| format!("cannot make the folder {target}"))?;
    mount(device, target, fs_type, flags, None)
        .with_context(|| format!("cannot mount {} at {target} as {fs_type}", device.display()))
}

/// Runs work that blocks on a disk off the main loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("init has a defect; see the kernel log")
}
