//! The boot partition's files: what firmware finds there, for each way from power-on to the kernel.
//!
//! Pure: parts in, paths and bytes out. What it makes is checked at once by what reads images back: a file that another one names must be there.

pub mod devicetree;
mod read;
pub mod rpi;
pub mod uboot;

use std::collections::BTreeMap;

use super::pe::PeError;
use super::uki;
use crate::board::{Board, BootMethod};
use crate::tree::{Content, Node, Tree, TreeError};
pub use read::{BootError, Booted, read};
use rpi::RpiError;

/// The UKI of slot A, in the folder where systemd-boot looks for them.
pub const UKI_PATH: &str = "EFI/Linux/skerry-a.efi";
const LOADER_CONF: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\n";

/// The boot partition: path → bytes.
pub type BootFiles = BTreeMap<String, Vec<u8>>;

/// systemd's two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// systemd-boot.
    pub program: Content,
    /// The EFI stub of a UKI.
    pub stub: Content,
}

/// What the boot partition is made of.
#[derive(Debug, Clone, Copy)]
pub struct BootParts<'a> {
    /// The board.
    pub board: &'a Board,
    /// Loader and stub; a board with UEFI on its way needs them.
    pub loader: Option<&'a Loader>,
    /// The kernel.
    pub kernel: &'a [u8],
    /// Its version, `uname -r`.
    pub kernel_version: &'a str,
    /// Compressed initramfs.
    pub initramfs: &'a [u8],
    /// Microcode, as an early initramfs.
    pub microcode: Option<&'a [u8]>,
    /// Kernel command line.
    pub command_line: &'a str,
    /// Text of os-release.
    pub os_release: &'a str,
    /// The board's own boot files and device trees, and licences.
    pub files: &'a Tree,
}

/// Why a boot partition cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A file cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The UKI cannot be put together.
    #[error(transparent)]
    Uki(#[from] PeError),
    /// The board boots through UEFI, but no loader was given.
    #[error("cannot make the boot partition of board {board}: it boots through UEFI, and there is no boot loader")]
    NoLoader {
        /// The board.
        board: String,
    },
    /// What a Raspberry Pi's firmware needs does not fit together.
    #[error(transparent)]
    Rpi(#[from] RpiError),
}

/// Makes the boot partition's files.
pub fn files(parts: &BootParts<'_>) -> Result<BootFiles, MakeError> {
    let mut files = board_files(parts)?;
    match parts.board.boot {
        BootMethod::UefiUki => add_uefi(parts, &mut files)?,
        BootMethod::RpiUboot => {
            add_uefi(parts, &mut files)?;
            rpi::add_uboot(parts, &mut files)?;
        }
        BootMethod::RpiNative => rpi::add_native(parts, &mut files)?,
    }
    if parts.board.boot.is_rpi() {
        rpi::check(&files)?;
    }
    Ok(files)
}

/// The UKI alone.
pub fn uki(parts: &BootParts<'_>) -> Result<Vec<u8>, MakeError> {
    let loader = parts.loader.ok_or_else(|| MakeError::NoLoader { board: parts.board.name.clone() })?;
    Ok(uki::build(&uki::Parts {
        architecture: parts.board.architecture,
        stub: &loader.stub.read()?,
        kernel: parts.kernel,
        initramfs: parts.initramfs,
        microcode: parts.microcode,
        command_line: parts.command_line,
        os_release: parts.os_release,
        uname: parts.kernel_version,
    })?)
}

fn add_uefi(parts: &BootParts<'_>, files: &mut BootFiles) -> Result<(), MakeError> {
    let loader = parts.loader.ok_or_else(|| MakeError::NoLoader { board: parts.board.name.clone() })?;
    let program = loader.program.read()?.into_owned();
    files.insert(format!("EFI/BOOT/{}", parts.board.architecture.efi_fallback_name()), program);
    files.insert(UKI_PATH.to_owned(), uki(parts)?);
    files.insert("loader/loader.conf".to_owned(), LOADER_CONF.into());
    Ok(())
}

/// The files that come as they are.
fn board_files(parts: &BootParts<'_>) -> Result<BootFiles, TreeError> {
    let mut files = BootFiles::new();
    for (path, node) in parts.files.iter() {
        if let Node::File { content, .. } = node {
            files.insert(path.as_str().to_owned(), content.read()?.into_owned());
        }
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests;
