//! Reads a boot partition back: which kernel, RAM disk and command line firmware would find in it.

use super::rpi::{self, Config, RpiError};
use super::{BootFiles, UKI_PATH};
use crate::image::uki;

/// Why a boot partition leads to no kernel.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The UKI is missing or damaged.
    #[error("cannot use {UKI_PATH} in the ESP: {0}")]
    Uki(String),
    /// No way to a kernel begins here.
    #[error("cannot boot from the ESP: it has neither {UKI_PATH} nor {}", rpi::CONFIG)]
    Nothing,
    /// What a Raspberry Pi's firmware needs is missing or wrong.
    #[error(transparent)]
    Rpi(#[from] RpiError),
}

/// What is booted from a boot partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Booted {
    /// Kernel command line.
    pub command_line: String,
    /// Compressed initramfs.
    pub initramfs: Vec<u8>,
    /// Sections of the UKI: name and size; none where there is no UKI.
    pub sections: Vec<(String, u64)>,
    /// Kernel version, where the boot partition says it.
    pub uname: Option<String>,
}

/// Finds the kernel's way: a UKI, else what `config.txt` names. Everything a Raspberry Pi's firmware reads is checked.
pub fn read(files: &BootFiles) -> Result<Booted, BootError> {
    if rpi::concerns(files) {
        rpi::check(files)?;
    }
    match files.get(UKI_PATH) {
        Some(bytes) => read_uki(bytes),
        None => read_native(files),
    }
}

fn read_uki(bytes: &[u8]) -> Result<Booted, BootError> {
    let uki = uki::read(bytes).map_err(BootError::Uki)?;
    Ok(Booted { command_line: uki.command_line, initramfs: uki.initramfs, sections: uki.sections, uname: Some(uki.uname) })
}

/// A `config.txt` that names no kernel's companions starts something that looks for the UKI.
fn read_native(files: &BootFiles) -> Result<Booted, BootError> {
    let config = files.get(rpi::CONFIG).ok_or(BootError::Nothing)?;
    let config = Config::parse(&String::from_utf8_lossy(config));
    let (Some(command_line), Some(initramfs)) = (&config.command_line, &config.initramfs) else {
        return Err(BootError::Uki("it is not there".into()));
    };
    // rpi::check has found every file that config.txt names.
    let file = |name: &str| &files[&format!("{}{name}", config.prefix)];
    Ok(Booted {
        command_line: String::from_utf8_lossy(file(command_line)).trim_end().to_owned(),
        initramfs: file(initramfs).clone(),
        sections: Vec::new(),
        uname: None,
    })
}
