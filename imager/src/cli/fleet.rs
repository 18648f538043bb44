//! Reads what a fleet gives to images: its public face, and configurations that it signed.

use std::path::Path;

use anyhow::{Context as _, Result};
use machine_config::{FleetTrust, MachineConfig, Verified, judge_for_fleet};

/// What is in a file, which an error names.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The fleet whose folder this is.
pub(super) fn read(folder: &Path) -> Result<FleetTrust> {
    let path = folder.join("fleet.pub");
    let trust = bytes(&path).context("cannot use --fleet: it must be a folder that `skerryctl fleet init` made")?;
    FleetTrust::from_json(&trust).with_context(|| format!("cannot use {}", path.display()))
}

/// The configuration in a file, once it is certain that some device of the fleet would take it.
pub(super) fn judged(path: &Path, fleet: &FleetTrust) -> Result<Verified<MachineConfig>> {
    let judged = judge_for_fleet(&bytes(path)?, &fleet.trust());
    judged.with_context(|| format!("cannot use {} as the configuration", path.display()))
}
