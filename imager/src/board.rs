//! What a board is: architecture, boot method, kernel, modules, partition sizes. Data from `kernel/boards/NAME.toml`, read strictly.
//!
//! It refuses unknown keys, names that are not there, and keys that the board's boot method has no use for; it decides nothing about the image.

mod architecture;
mod devicetree;
mod format;
mod method;
mod modules;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::components::manifest::toml_reason;
pub use architecture::Architecture;
pub use devicetree::DeviceTree;
pub use format::Format;
pub use method::BootMethod;
pub use modules::{ModuleSets, Modules};

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

/// Partition sizes in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PartitionSizes {
    /// The ESP at least; more when the files in it and their room to grow need it.
    pub esp_mib: u64,
    /// RUNTIME-A at least; more when the content and its room to grow need it.
    pub runtime_mib: u64,
}

/// Something that a test shows of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// What it is, for people.
    pub what: String,
    /// The test's function, in `tests/tests`.
    pub test: String,
}

/// What has been seen working, and what has not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Proved by a test that runs on this board.
    #[serde(default)]
    pub proven: Vec<Proof>,
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
    /// The module that drives the watchdog; loaded before all others, so that a board which cannot restart without it can at once.
    #[serde(default)]
    pub watchdog: Option<String>,
    /// Firmware files below `/lib/firmware`, by glob, that the initramfs carries.
    #[serde(default)]
    pub firmware: Vec<String>,
    /// Device trees that the board's firmware loads; of several for one filter, the first is used.
    #[serde(default)]
    pub devicetrees: Vec<DeviceTree>,
    /// The component with the files that the board's own firmware reads from the boot partition.
    #[serde(default)]
    pub boot_files: Option<String>,
    /// The component with processor microcode.
    #[serde(default)]
    pub microcode: Option<String>,
    /// Partition sizes.
    pub partitions: PartitionSizes,
    /// Memory of the smallest machine of this kind, in MiB.
    pub memory_mib: u64,
    /// k3s roles that make sense here.
    pub k3s_roles: Vec<K3sRole>,
    /// Forms in which an image of this board makes sense.
    pub formats: Vec<Format>,
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
    /// Reads `FOLDER/NAME.toml`, and the module sets beside that folder.
    pub fn load(folder: &Path, name: &str) -> Result<Self, BoardError> {
        let known = names(folder)?;
        if !known.iter().any(|other| other == name) {
            return Err(BoardError::Unknown { name: name.into(), folder: folder.into(), known: known.join(", ") });
        }
        let path = folder.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).map_err(|source| BoardError::Read { path: path.clone(), source })?;
        let sets = ModuleSets::load(&folder.join("../modules"))?;
        let board = Self::parse(&text, &sets).map_err(|reason| BoardError::Parse { path: path.clone(), reason })?;
        if board.name != name {
            return Err(BoardError::Parse { path, reason: format!("it says `name = \"{}\"`", board.name) });
        }
        Ok(board)
    }

    /// Parses a board; the error is one line with its place.
    pub fn parse(text: &str, sets: &ModuleSets) -> Result<Self, String> {
        let mut board: Self = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
        board.check()?;
        board.modules.take_in(sets)?;
        board.modules.early.splice(0..0, board.watchdog.clone());
        Ok(board)
    }

    /// Refuses what does not go together, so that no key of a board file is without effect.
    fn check(&self) -> Result<(), String> {
        let (method, rpi) = (self.boot.as_str(), self.boot.is_rpi());
        let rules = [
            (self.consoles.is_empty(), "`consoles` is empty: a board needs at least one, such as \"tty0\"".to_owned()),
            (self.formats.is_empty(), "`formats` is empty: a board needs at least one, such as \"raw\"".to_owned()),
            (self.memory_mib == 0, "`memory-mib` is 0: it is what the smallest machine of this kind has".to_owned()),
            (rpi && self.architecture != Architecture::Aarch64, format!("boot method {method} is for aarch64")),
            (rpi && self.devicetrees.is_empty(), format!("boot method {method} needs `devicetrees`")),
            (
                !rpi && !self.devicetrees.is_empty(),
                format!("boot method {method} has no use for `devicetrees`: firmware brings its own"),
            ),
            (
                (self.boot == BootMethod::RpiUboot) != self.boot_files.is_some(),
                format!("boot method rpi-uboot needs `boot-files`, and no other has a use for it; this is {method}"),
            ),
            (
                self.microcode.is_some() && self.architecture != Architecture::X86_64,
                "`microcode` is for x86_64: others get it from their firmware".to_owned(),
            ),
            (
                rpi && self.formats.iter().any(|format| format.runs_from_ram()),
                format!("`formats` may not name iso, pxe or uki: they need UEFI firmware, this is {method}"),
            ),
        ];
        rules
            .into_iter()
            .find(|(broken, _)| *broken)
            .map_or_else(|| devicetree::check(&self.devicetrees), |(_, reason)| Err(reason))
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

    fn qemu() -> String {
        std::fs::read_to_string(boards().join("qemu-x86_64.toml")).expect("read")
    }

    fn refused(from: &str, to: &str) -> String {
        assert!(qemu().contains(from), "{from}");
        let sets = ModuleSets::load(&boards().join("../modules")).expect("sets");
        Board::parse(&qemu().replace(from, to), &sets).expect_err(to)
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let error = refused("esp-mib", "esp-size");
        assert!(error.contains("esp-size") && error.starts_with("line "), "{error}");
    }

    #[test]
    fn keys_that_would_have_no_effect_are_refused() {
        let console = "consoles = [\"tty0\", \"ttyS0,115200\"]";
        for (from, to, part) in [
            (console, "consoles = []", "`consoles` is empty"),
            ("memory-mib = 2048", "memory-mib = 0", "`memory-mib` is 0"),
            ("memory-mib = 2048", "", "missing field `memory-mib`"),
            (
                console,
                &format!("{console}\ndevicetrees = [{{file = \"a.dtb\", filter = \"pi4\", model = \"m\"}}]"),
                "no use for `devicetrees`",
            ),
            (console, &format!("{console}\nboot-files = \"rpi\""), "needs `boot-files`"),
            ("uefi-uki", "rpi-native", "is for aarch64"),
            ("uefi-uki", "bios", "unknown variant"),
            ("sets = [", "sets = [\"nowhere\", ", "`nowhere` is not there"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_watchdog_is_loaded_first_and_shared_modules_are_in() {
        let board = Board::load(&boards(), "rpi4").expect("loaded");
        assert_eq!(board.modules.early.first(), board.watchdog.as_ref());
        assert!(board.modules.runtime.contains(&"overlay".to_owned()));
    }

    #[test]
    fn the_command_line_starts_with_the_consoles() {
        let board = Board::load(&boards(), "qemu-x86_64").expect("loaded");
        assert!(board.command_line().starts_with("console=tty0 console=ttyS0,115200 quiet panic=10"));
    }
}
