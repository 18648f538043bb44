//! What a board is: architecture, boot method, kernel, modules, partition sizes. Data from `kernel/boards/NAME.toml`, read strictly.
//!
//! It refuses unknown keys and names that are not there; it decides nothing about the image.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::components::manifest::toml_reason;

/// Processor architectures an image can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Architecture {
    /// The kernel's and Rust's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// UEFI's name of the loader at the fallback path.
    pub fn efi_fallback_name(self) -> &'static str {
        match self {
            Self::X86_64 => "BOOTX64.EFI",
            Self::Aarch64 => "BOOTAA64.EFI",
        }
    }

    /// The target triple of the node's binaries.
    pub fn rust_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the board gets from power-on to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMethod {
    /// UEFI firmware, systemd-boot at the fallback path, one UKI per slot.
    UefiUki,
}

/// k3s roles a board is strong enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum K3sRole {
    /// Control plane and workloads.
    Server,
    /// Workloads only.
    Agent,
}

impl K3sRole {
    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

/// Kernel modules by where and when they are loaded. Dependencies are added by themselves; built-in names are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Modules {
    /// In the initramfs, loaded at once whatever hardware is seen.
    #[serde(default)]
    pub early: Vec<String>,
    /// In the initramfs, loaded when a device asks for them by alias.
    #[serde(default)]
    pub hardware: Vec<String>,
    /// In the runtime image, loaded before services.
    #[serde(default)]
    pub runtime: Vec<String>,
    /// In the runtime image, loaded when a device or the machine configuration asks for them.
    #[serde(default)]
    pub runtime_hardware: Vec<String>,
}

/// Partition sizes in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PartitionSizes {
    /// The ESP: room for one UKI per slot.
    pub esp_mib: u64,
    /// RUNTIME-A at least; more when the content and its room to grow need it.
    pub runtime_mib: u64,
}

/// What has been seen working, and what has not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Proved by a test that runs on this board.
    #[serde(default)]
    pub proven: Vec<String>,
    /// Waits for somebody with the hardware.
    #[serde(default)]
    pub awaits: Vec<String>,
}

/// One board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Board {
    /// The file's name without `.toml`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Processor architecture.
    pub architecture: Architecture,
    /// Boot method.
    pub boot: BootMethod,
    /// Name of the kernel in `components.toml`.
    pub kernel: String,
    /// Consoles for the command line, in order; the kernel's messages go to all, `/dev/console` is the last.
    pub consoles: Vec<String>,
    /// Further words of the kernel command line.
    #[serde(default)]
    pub cmdline: Vec<String>,
    /// Kernel modules.
    pub modules: Modules,
    /// Firmware files below `/lib/firmware`, by path, that the initramfs carries.
    #[serde(default)]
    pub firmware: Vec<String>,
    /// Partition sizes.
    pub partitions: PartitionSizes,
    /// k3s roles that make sense here.
    pub k3s_roles: Vec<K3sRole>,
    /// What is proved and what is not.
    #[serde(default)]
    pub standing: Standing,
}

/// Why a board cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No such file.
    #[error("cannot find board `{name}` in {}: known boards are {known}", folder.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where boards lie.
        folder: PathBuf,
        /// The boards that exist, joined by commas.
        known: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a board.
    #[error("cannot use {}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, on one line, with its place.
        reason: String,
    },
}

impl Board {
    /// Reads `FOLDER/NAME.toml`.
    pub fn load(folder: &Path, name: &str) -> Result<Self, BoardError> {
        let known = names(folder)?;
        if !known.iter().any(|other| other == name) {
            return Err(BoardError::Unknown { name: name.into(), folder: folder.into(), known: known.join(", ") });
        }
        let path = folder.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).map_err(|source| BoardError::Read { path: path.clone(), source })?;
        let board = Self::parse(&text).map_err(|reason| BoardError::Parse { path: path.clone(), reason })?;
        if board.name != name {
            return Err(BoardError::Parse { path, reason: format!("it says `name = \"{}\"`", board.name) });
        }
        Ok(board)
    }

    /// Parses a board; the error is one line with its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let board: Self = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
        match board.consoles.is_empty() {
            true => Err("`consoles` is empty: a board needs at least one, such as \"tty0\"".into()),
            false => Ok(board),
        }
    }

    /// The kernel command line without the words that depend on the image's content.
    pub fn command_line(&self) -> String {
        let consoles = self.consoles.iter().map(|console| format!("console={console}"));
        let fixed = ["quiet", "panic=10"].map(String::from);
        consoles.chain(fixed).chain(self.cmdline.iter().cloned()).collect::<Vec<_>>().join(" ")
    }
}

/// The names of all boards in a folder, sorted.
pub fn names(folder: &Path) -> Result<Vec<String>, BoardError> {
    let read = |source| BoardError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/boards")
    }

    #[test]
    fn every_board_in_the_tree_parses() {
        let names = names(&boards()).expect("listed");
        assert!(names.contains(&"qemu-x86_64".to_owned()));
        for name in names {
            Board::load(&boards(), &name).expect(&name);
        }
    }

    #[test]
    fn an_unknown_board_names_the_known_ones() {
        let error = Board::load(&boards(), "toaster").expect_err("no such board").to_string();
        assert!(error.contains("`toaster`") && error.contains("qemu-x86_64"), "{error}");
        assert!(Board::load(&boards(), "../boards/qemu-x86_64").is_err());
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let text = std::fs::read_to_string(boards().join("qemu-x86_64.toml")).expect("read");
        let error = Board::parse(&text.replace("esp-mib", "esp-size")).expect_err("unknown key");
        assert!(error.contains("esp-size") && error.starts_with("line "), "{error}");
    }

    #[test]
    fn the_command_line_starts_with_the_consoles() {
        let board = Board::load(&boards(), "qemu-x86_64").expect("loaded");
        assert!(board.command_line().starts_with("console=tty0 console=ttyS0,115200 quiet panic=10"));
    }
}
