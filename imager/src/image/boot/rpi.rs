//! What a Raspberry Pi's own firmware reads: `config.txt`, and what that names. Written from the board's data, and checked as it will be read.
//!
//! It knows the few words of `config.txt` that it writes, and refuses to write any that leads nowhere.

use super::{BootFiles, BootParts, MakeError, devicetree, uboot};
use crate::board::{BootMethod, DeviceTree};

/// Where the firmware looks first.
pub const CONFIG: &str = "config.txt";
/// Folder of slot A, for boards whose firmware starts the kernel.
pub const SLOT_A: &str = "slot-a/";
const UBOOT: &str = "u-boot.bin";
const KERNEL: &str = "vmlinuz";
const INITRAMFS: &str = "initramfs.zst";
const COMMAND_LINE: &str = "cmdline.txt";
/// What the second stage of a Raspberry Pi 4 loads; a Raspberry Pi 5 has it in its EEPROM.
const PI4_FIRMWARE: [&str; 2] = ["start4.elf", "fixup4.dat"];
/// Older firmware cuts longer lines of config.txt.
const LONGEST_LINE: usize = 98;
/// The firmware's own additions to the command line and ours must fit the kernel's 2048 bytes.
const LONGEST_COMMAND_LINE: usize = 1024;
/// At this offset of an arm64 kernel stands its magic number. U-Boot has none, but begins with a branch.
const ARM64_MAGIC_AT: usize = 56;
const ARM64_MAGIC: &[u8] = b"ARM\x64";
const BRANCH: u8 = 0x14;
const BRANCH_MASK: u8 = 0xfc;

/// The chip of a Raspberry Pi 4, as names of device trees begin with it.
const PI4_CHIP: &str = "bcm2711";

/// Why a Raspberry Pi could not boot this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpiError {
    /// A file is named that is not there.
    #[error("cannot boot from this partition: {by} names {file}, which is not in it")]
    Missing {
        /// Who names it.
        by: String,
        /// What is missing.
        file: String,
    },
    /// A file is not what it is named as.
    #[error("cannot boot from this partition: {file} is not usable: {reason}")]
    Unusable {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Adds `config.txt` and closes U-Boot's prompt; nothing moves: firmware, U-Boot and device trees lie at the top.
pub(super) fn add_uboot(parts: &BootParts<'_>, files: &mut BootFiles) -> Result<(), MakeError> {
    files.insert(CONFIG.to_owned(), config(BootMethod::RpiUboot, &parts.board.devicetrees).into_bytes());
    for tree in &parts.board.devicetrees {
        let name = tree.file_name();
        if let Some(bytes) = files.get_mut(name) {
            check_model(tree, bytes)?;
            *bytes = uboot::close_prompt(bytes).map_err(|error| unusable(name, error.to_string()))?;
        }
    }
    Ok(())
}

/// Adds `config.txt` and a slot's folder with kernel, RAM disk, command line and device trees.
pub(super) fn add_native(parts: &BootParts<'_>, files: &mut BootFiles) -> Result<(), MakeError> {
    files.insert(CONFIG.to_owned(), config(BootMethod::RpiNative, &parts.board.devicetrees).into_bytes());
    for tree in &parts.board.devicetrees {
        let name = tree.file_name();
        if let Some(bytes) = files.remove(name) {
            check_model(tree, &bytes)?;
            files.insert(format!("{SLOT_A}{name}"), bytes);
        }
    }
    let own = [
        (KERNEL, parts.kernel.to_vec()),
        (INITRAMFS, parts.initramfs.to_vec()),
        (COMMAND_LINE, format!("{}\n", parts.command_line).into_bytes()),
    ];
    files.extend(own.map(|(name, bytes)| (format!("{SLOT_A}{name}"), bytes)));
    Ok(())
}

/// The text of `config.txt`. Of several device trees for one filter, the first is used, and how to use another is said.
fn config(method: BootMethod, devicetrees: &[DeviceTree]) -> String {
    let mut lines =
        vec!["# Written by imager: what the board's firmware starts.".to_owned(), "arm_64bit=1".into(), "enable_uart=1".into()];
    match method {
        BootMethod::RpiUboot => lines.push(format!("kernel={UBOOT}")),
        BootMethod::RpiNative => {
            lines.extend([format!("os_prefix={SLOT_A}"), format!("kernel={KERNEL}"), format!("cmdline={COMMAND_LINE}")]);
            lines.push(format!("initramfs {INITRAMFS} followkernel"));
        }
        BootMethod::UefiUki => {}
    }
    let mut used: Vec<&str> = Vec::new();
    for tree in devicetrees {
        let line = format!("device_tree={}", tree.file_name());
        if used.contains(&tree.filter.as_str()) {
            lines.push(format!("# for other steppings of the chip: {line}"));
        } else {
            used.push(&tree.filter);
            lines.extend([format!("[{}]", tree.filter), line]);
        }
    }
    lines.push("[all]".into());
    lines.join("\n") + "\n"
}

/// The device tree must say that it is for the model the board file names.
fn check_model(tree: &DeviceTree, bytes: &[u8]) -> Result<(), RpiError> {
    let found = devicetree::machine(bytes).map_err(|reason| unusable(tree.file_name(), reason.into()))?.model;
    match found.starts_with(&tree.model) {
        true => Ok(()),
        false => Err(unusable(tree.file_name(), format!("it is for `{found}`, not for `{}` as the board file says", tree.model))),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What `config.txt` says, as the firmware reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Goes before the names of kernel, RAM disk, command line and device trees.
    pub prefix: String,
    /// The program the firmware starts.
    pub kernel: String,
    /// The RAM disk.
    pub initramfs: Option<String>,
    /// The file with the command line.
    pub command_line: Option<String>,
    /// Device trees of all models, also those that only a comment names.
    pub devicetrees: Vec<String>,
}

impl Config {
    /// Reads the words that imager writes; the others are the firmware's business.
    pub fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let line = line.rsplit_once(": ").filter(|_| line.starts_with('#')).map_or(line, |(_, commented)| commented);
            match line.split_once(['=', ' ']) {
                Some(("os_prefix", value)) => config.prefix = value.into(),
                Some(("kernel", value)) => config.kernel = value.into(),
                Some(("cmdline", value)) => config.command_line = Some(value.into()),
                Some(("device_tree", value)) => config.devicetrees.push(value.into()),
                Some(("initramfs", value)) => config.initramfs = value.split(' ').next().map(str::to_owned),
                Some(_) | None => {}
            }
        }
        config
    }

    fn named(&self) -> impl Iterator<Item = String> + '_ {
        let own = [Some(&self.kernel), self.initramfs.as_ref(), self.command_line.as_ref()];
        own.into_iter().flatten().chain(&self.devicetrees).map(|name| format!("{}{name}", self.prefix))
    }
}

/// Whether a boot partition is made for a Raspberry Pi.
pub fn concerns(files: &BootFiles) -> bool {
    PI4_FIRMWARE.iter().chain([&UBOOT, &CONFIG]).any(|name| files.contains_key(*name))
}

/// Checks that a Raspberry Pi finds everything in a boot partition, and that it is what it is named as.
pub fn check(files: &BootFiles) -> Result<(), RpiError> {
    let text = files.get(CONFIG).ok_or_else(|| missing("the firmware", CONFIG))?;
    let text = String::from_utf8_lossy(text);
    let config = Config::parse(&text);
    if let Some(line) = text.lines().find(|line| line.len() > LONGEST_LINE) {
        return Err(unusable(CONFIG, format!("a line has {} characters, more than {LONGEST_LINE}", line.len())));
    }
    if !text.lines().any(|line| line.starts_with("device_tree=")) {
        return Err(unusable(CONFIG, "it names no device tree".into()));
    }
    if let Some(file) = config.named().find(|file| !files.contains_key(file)) {
        return Err(missing(CONFIG, &file));
    }
    let kernel = format!("{}{}", config.prefix, config.kernel);
    if !is_arm64_program(&files[&kernel]) {
        return Err(unusable(&kernel, "it is neither an uncompressed arm64 kernel nor U-Boot".into()));
    }
    if let Some(name) = &config.command_line {
        check_command_line(&format!("{}{name}", config.prefix), files)?;
    }
    config.devicetrees.iter().map(|name| format!("{}{name}", config.prefix)).try_for_each(|file| {
        check_devicetree(&file, files)?;
        match config.kernel != UBOOT || uboot::prompt_is_closed(&files[&file]) {
            true => Ok(()),
            false => Err(unusable(&file, "it leaves U-Boot a prompt".into())),
        }
    })
}

fn check_command_line(file: &str, files: &BootFiles) -> Result<(), RpiError> {
    let bytes = &files[file];
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    match line.contains(&b'\n') || line.len() > LONGEST_COMMAND_LINE {
        true => Err(unusable(file, format!("it must be one line of at most {LONGEST_COMMAND_LINE} characters"))),
        false => Ok(()),
    }
}

/// The device tree must be for a Raspberry Pi with the chip that its name begins with, and that chip's firmware there. For which model it is, only the
/// board file knows.
fn check_devicetree(file: &str, files: &BootFiles) -> Result<(), RpiError> {
    let chip = file_name(file).split('-').next().unwrap_or_default();
    let machine = devicetree::machine(&files[file]).map_err(|reason| unusable(file, reason.into()))?;
    if !machine.model.starts_with("Raspberry Pi") || !machine.compatible.contains(&format!("brcm,{chip}")) {
        return Err(unusable(file, format!("it is for `{}`, not for a Raspberry Pi with {chip}", machine.model)));
    }
    let mut needed = PI4_FIRMWARE.iter().filter(|_| chip == PI4_CHIP);
    let absent = needed.find(|name| !files.contains_key(**name));
    absent.map_or(Ok(()), |name| Err(missing("the second stage of the firmware", name)))
}

fn is_arm64_program(bytes: &[u8]) -> bool {
    let kernel = bytes.get(ARM64_MAGIC_AT..ARM64_MAGIC_AT + ARM64_MAGIC.len()) == Some(ARM64_MAGIC);
    kernel || bytes.get(3).is_some_and(|byte| byte & BRANCH_MASK == BRANCH)
}

fn missing(by: &str, file: &str) -> RpiError {
    RpiError::Missing { by: by.into(), file: file.into() }
}

fn unusable(file: &str, reason: String) -> RpiError {
    RpiError::Unusable { file: file.into(), reason }
}
