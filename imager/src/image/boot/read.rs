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
    if files.contains_key(rpi::CONFIG) {
        rpi::check(files)?;
    }
    match files.get(UKI_PATH) {
        Some(bytes) => read_uki(bytes),
        None if files.contains_key(rpi::CONFIG) => read_native(files),
        None => Err(BootError::Uki("it is not there".into())),
    }
}

fn read_uki(bytes: &[u8]) -> Result<Booted, BootError> {
    let uki = uki::read(bytes).map_err(BootError::Uki)?;
    Ok(Booted { command_line: uki.command_line, initramfs: uki.initramfs, sections: uki.sections, uname: Some(uki.uname) })
}

/// [`rpi::check`] has found every file that `config.txt` names.
fn read_native(files: &BootFiles) -> Result<Booted, BootError> {
    let config = Config::parse(&String::from_utf8_lossy(&files[rpi::CONFIG]));
    let file = |name: &Option<String>, what: &str| {
        let missing = || RpiError::Missing { by: rpi::CONFIG.into(), file: what.into() };
        let name = name.as_ref().ok_or_else(missing)?;
        Ok::<_, RpiError>(&files[&format!("{}{name}", config.prefix)])
    };
    let command_line = file(&config.command_line, "a command line")?;
    Ok(Booted {
        command_line: String::from_utf8_lossy(command_line).trim_end().to_owned(),
        initramfs: file(&config.initramfs, "a RAM disk")?.clone(),
        sections: Vec::new(),
        uname: None,
    })
}
