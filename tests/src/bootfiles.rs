//! Kernel, initramfs and command line of an image, wherever its board's boot method keeps them.

use std::path::Path;

use anyhow::{Context, Result};
use imager::image::boot::UKI_PATH;

use crate::esp::Esp;
use crate::picfg::PiConfig;
use crate::uki::Uki;

/// What a boot loader hands to the machine.
#[derive(Debug, Clone)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initramfs.
    pub initramfs: Vec<u8>,
    /// The kernel's command line.
    pub command_line: String,
}

impl BootFiles {
    /// Reads those of slot A: out of the UKI, else by what `config.txt` names.
    pub fn read(image: &Path) -> Result<Self> {
        let esp = Esp::read(image)?;
        if esp.paths().any(|path| path.eq_ignore_ascii_case(UKI_PATH)) {
            let uki = Uki::read(image)?;
            return Ok(Self {
                kernel: uki.section(".linux")?.into(),
                initramfs: uki.section(".initrd")?.into(),
                command_line: uki.command_line()?,
            });
        }
        let config = PiConfig::parse(esp.text("config.txt")?);
        let file = |name: Option<String>, what| esp.file(&name.with_context(|| format!("config.txt names no {what}"))?);
        Ok(Self {
            kernel: file(config.kernel(), "kernel")?.into(),
            initramfs: file(config.initramfs(), "initramfs")?.into(),
            command_line: esp.text(&config.command_line())?.trim().into(),
        })
    }

    /// The value of the command line's `word=`.
    pub fn word(&self, word: &str) -> Option<&str> {
        self.command_line.split_whitespace().find_map(|found| found.strip_prefix(word)?.strip_prefix('='))
    }
}
