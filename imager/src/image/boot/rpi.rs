//! What a Raspberry Pi's own firmware reads: `config.txt`, and what that names. Written from the board's data, and checked as it will be read.
//!
//! It knows the few words of `config.txt` that it writes, and refuses to write any that leads nowhere.

use super::{BootFiles, BootParts, MakeError, devicetree, uboot};
use crate::board::BootMethod;

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

/// A device tree: its name, the filter of config.txt for its models, and the chip it must be for.
struct Model {
    stem: &'static str,
    filter: &'static str,
    chip: &'static str,
}

/// The models known. `pi4` also matches a 400 and a CM4, so these come after it.
const MODELS: [Model; 5] = [
    Model { stem: "bcm2711-rpi-4-b", filter: "pi4", chip: "brcm,bcm2711" },
    Model { stem: "bcm2711-rpi-400", filter: "pi400", chip: "brcm,bcm2711" },
    Model { stem: "bcm2711-rpi-cm4-io", filter: "cm4", chip: "brcm,bcm2711" },
    Model { stem: "bcm2712-rpi-5-b", filter: "pi5", chip: "brcm,bcm2712" },
    Model { stem: "bcm2712-d-rpi-5-b", filter: "pi5", chip: "brcm,bcm2712" },
];

/// Why a Raspberry Pi could not boot this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpiError {
    /// No model is known for a device tree.
    #[error("cannot use the device tree {file}: no Raspberry Pi is known by that name; add it to imager's table of models")]
    Model {
        /// The file.
        file: String,
    },
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
    files.insert(CONFIG.to_owned(), config(BootMethod::RpiUboot, &parts.board.devicetrees)?.into_bytes());
    for name in parts.board.devicetrees.iter().map(|path| file_name(path)) {
        if let Some(bytes) = files.get_mut(name) {
            *bytes = uboot::close_prompt(bytes).map_err(|error| unusable(name, error.to_string()))?;
        }
    }
    Ok(())
}

/// Adds `config.txt` and a slot's folder with kernel, RAM disk, command line and device trees.
pub(super) fn add_native(parts: &BootParts<'_>, files: &mut BootFiles) -> Result<(), MakeError> {
    files.insert(CONFIG.to_owned(), config(BootMethod::RpiNative, &parts.board.devicetrees)?.into_bytes());
    for name in parts.board.devicetrees.iter().map(|path| file_name(path)) {
        if let Some(bytes) = files.remove(name) {
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

/// The text of `config.txt`. Of several device trees for one model, the first is used, and how to use another is said.
pub fn config(method: BootMethod, devicetrees: &[String]) -> Result<String, RpiError> {
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
    for model in ordered(devicetrees)? {
        let line = format!("device_tree={}.dtb", model.stem);
        if used.contains(&model.filter) {
            lines.push(format!("# for other steppings of the chip: {line}"));
        } else {
            used.push(model.filter);
            lines.extend([format!("[{}]", model.filter), line]);
        }
    }
    lines.push("[all]".into());
    Ok(lines.join("\n") + "\n")
}

/// The models of device trees, in the table's order.
fn ordered(devicetrees: &[String]) -> Result<Vec<&'static Model>, RpiError> {
    let known = |file: &String| MODELS.iter().any(|model| file_name(file) == format!("{}.dtb", model.stem));
    if let Some(file) = devicetrees.iter().find(|file| !known(file)) {
        return Err(RpiError::Model { file: file.clone() });
    }
    let named = |model: &&Model| devicetrees.iter().any(|file| file_name(file) == format!("{}.dtb", model.stem));
    Ok(MODELS.iter().filter(named).collect())
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

/// The device tree must be for its model, and the firmware of that model's generation there.
fn check_devicetree(file: &str, files: &BootFiles) -> Result<(), RpiError> {
    let model = MODELS.iter().find(|model| file_name(file) == format!("{}.dtb", model.stem));
    let model = model.ok_or_else(|| RpiError::Model { file: file.to_owned() })?;
    let machine = devicetree::machine(&files[file]).map_err(|reason| unusable(file, reason.into()))?;
    if !machine.model.starts_with("Raspberry Pi") || !machine.compatible.iter().any(|name| name == model.chip) {
        return Err(unusable(file, format!("it is for `{}`, not for a Raspberry Pi with {}", machine.model, model.chip)));
    }
    let needed = PI4_FIRMWARE.iter().filter(|_| model.chip == "brcm,bcm2711");
    let absent = needed.into_iter().find(|name| !files.contains_key(**name));
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
