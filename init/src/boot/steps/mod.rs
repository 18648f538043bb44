//! What each phase of the table does, one file per phase.

mod api;
mod config;
mod devices;
mod early;
mod install;
mod network;
mod seed;
mod services;
mod state;
mod volumes;

pub(super) use api::api;
pub(super) use config::config;
pub(super) use devices::devices;
pub(super) use early::early;
pub(super) use install::{install, install_later, tell_inert};
pub(super) use network::network;
pub(super) use services::{healthy, prepare_kernel, services};
pub(super) use state::state;
pub(super) use volumes::volumes;

use std::ffi::CString;
use std::path::Path;

use anyhow::Context;
use rustix::mount::{MountFlags, mount};

/// Mounts a file system that lies on a device.
fn mount_device(device: &Path, target: &str, fs_type: &str, flags: MountFlags) -> anyhow::Result<()> {
    std::fs::create_dir_all(target).with_context(|| format!("cannot make the folder {target}"))?;
    mount(device, target, fs_type, flags, None)
        .with_context(|| format!("cannot mount {} at {target} as {fs_type}", device.display()))
}

/// Mounts a file system that lies in RAM and takes at most this much of it.
fn mount_ram(target: &str, bytes: u64, flags: MountFlags) -> anyhow::Result<()> {
    std::fs::create_dir_all(target).with_context(|| format!("cannot make the folder {target}"))?;
    let options = CString::new(format!("size={bytes},mode=0755")).expect("numbers have no NUL");
    mount("tmpfs", target, "tmpfs", flags, Some(options.as_c_str()))
        .with_context(|| format!("cannot mount {} MiB of RAM at {target}", bytes >> 20))
}

/// Runs work that blocks on a disk off the main loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("init has a defect; see the kernel log")
}
