//! What a board's image must hold for the machines it is named after, read out of the finished image: drivers, firmware, microcode, consoles,
//! device trees, and what a Raspberry Pi's firmware reads, as Debian's packages have it. That they work is another question; docs/boards.md says which of
//! them no emulator has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use imager::board::Architecture;
use imager::components::digest;
use imager::components::lockfile::Lock;
use serde_json::Value;
use skerry_tests::bootfiles::BootFiles;
use skerry_tests::esp::Esp;
use skerry_tests::images::{self, TestImage};
use skerry_tests::initramfs::{self, Files};
use skerry_tests::lab::Lab;
use skerry_tests::picfg::PiConfig;
use skerry_tests::places;
use skerry_tests::story::step;
use skerry_tests::uki::Uki;

/// Network, disks, watchdog and TPM of NUCs and industrial PCs.
const NUC_DRIVERS: [&str; 10] =
    ["e1000e", "igc", "igb", "r8169", "nvme", "ahci", "usb_storage", "iTCO_wdt", "tpm_tis", "tpm_crb"];

/// The same on Arm, where the watchdog is the one of servers.
const ARM64_DRIVERS: [&str; 7] = ["e1000e", "igc", "igb", "r8169", "nvme", "ahci", "usb_storage"];

/// Network, USB, card and watchdog of a Raspberry Pi 4 and of a 5.
const RPI4_DRIVERS: [&str; 4] = ["genet", "sdhci_iproc", "bcm2835_wdt", "usb_storage"];
const RPI5_DRIVERS: [&str; 4] = ["macb", "sdhci_brcmstb", "bcm2835_wdt", "rp1_pci"];

/// What a device tree must say its model is, by the filter of `config.txt` under which it is named.
const MODELS: [(&str, &str); 4] = [
    ("pi4", "Raspberry Pi 4 Model B"),
    ("pi400", "Raspberry Pi 400"),
    ("cm4", "Raspberry Pi Compute Module 4"),
    ("pi5", "Raspberry Pi 5"),
];

/// What lies on a Raspberry Pi 4's boot partition as its package has it: component and package, path in that, path on the partition.
const PI4_FILES: [(&str, &str, &str, &str); 4] = [
    ("rpi-boot", "raspi-firmware", "usr/lib/raspi-firmware/start4.elf", "start4.elf"),
    ("rpi-boot", "raspi-firmware", "usr/lib/raspi-firmware/fixup4.dat", "fixup4.dat"),
    ("rpi-boot", "u-boot-rpi", "usr/lib/u-boot/rpi_arm64/u-boot.bin", "u-boot.bin"),
    ("systemd-boot", "systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootaa64.efi", "EFI/BOOT/BOOTAA64.EFI"),
];

/// Its device trees: component, the beginning of the package's name, a pattern of their paths in it.
const PI4_TREES: (&str, &str, &str) = ("linux-arm64", "linux-image-", "./usr/lib/linux-image-*/broadcom/bcm2711-rpi-*.dtb");

/// The node that imager adds to each for U-Boot, and nothing else.
const UBOOT_NODE: &str = "/config";

#[test]
fn a_board_has_the_drivers_of_its_machines() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for (image, drivers) in [
        (TestImage::Nuc, NUC_DRIVERS.as_slice()),
        (TestImage::Arm64Uefi, &ARM64_DRIVERS),
        (TestImage::Rpi4, &RPI4_DRIVERS),
        (TestImage::Rpi5, &RPI5_DRIVERS),
    ] {
        step(format!("{}: {} are in it", image.board(), drivers.join(", ")), || has_drivers(&lab.image(image), drivers));
    }
}

#[test]
fn a_realtek_network_chip_finds_all_firmware_its_driver_names() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for image in [TestImage::Nuc, TestImage::Arm64Uefi] {
        step(format!("{}: firmware of r8169", image.board()), || firmware_of_r8169(&lab.image(image)));
    }
}

#[test]
fn a_nuc_gets_microcode_before_its_kernel() {
    let Some(lab) = Lab::open_or_skip() else { return };
    step("microcode of Intel and AMD is where the kernel looks for it", || microcode(&lab.image(TestImage::Nuc)));
}

#[test]
fn a_serial_port_is_a_console_only_where_every_machine_has_it() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for image in [TestImage::Nuc, TestImage::Arm64Uefi] {
        step(format!("{}: the screen alone", image.board()), || {
            let consoles = consoles(&lab.image(image))?;
            ensure!(consoles == ["tty0"], "its consoles are {consoles:?}");
            Ok(())
        });
    }
    // ttySn and ttyAMAn take their number from the alias serialn.
    for (image, port, alias) in [(TestImage::Rpi4, "ttyS1", "serial1"), (TestImage::Rpi5, "ttyAMA10", "serial10")] {
        step(format!("{}: {port} is a port of each model", image.board()), || serial_port(&lab.image(image), port, alias));
    }
}

#[test]
fn a_raspberry_pi_is_given_the_device_tree_of_its_own_model() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for (image, filters) in [(TestImage::Rpi4, ["pi4", "pi400", "cm4"].as_slice()), (TestImage::Rpi5, &["pi5"])] {
        step(format!("{}: device trees for {}", image.board(), filters.join(", ")), || device_trees(&lab.image(image), filters));
    }
}

#[test]
fn a_raspberry_pi_4_is_given_the_files_of_debians_packages() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let (image, folder) = (lab.image(TestImage::Rpi4), tempfile::tempdir_in(lab.images()).unwrap());
    for (component, package, member, path) in PI4_FILES {
        step(format!("{path} is that of {package}"), || {
            unpack(&locked(component, package)?, &format!("./{member}"), folder.path())?;
            let name = Path::new(member).file_name().context("a path ends with a name")?;
            let packed = digest::of_file(&folder.path().join(name))?;
            let found = digest::Digest::of(Esp::read(&image)?.file(path)?);
            ensure!(found == packed, "it has the SHA-256 {found}, that of the package has {packed}");
            Ok(())
        });
    }
    let (component, package, pattern) = PI4_TREES;
    step("each device tree is that of the kernel's package but for U-Boot's node", || {
        unpack(&locked(component, package)?, pattern, folder.path())?;
        same_trees(&Esp::read(&image)?, folder.path())
    });
}

/// A package for arm64 in the cache that the images were built with, once it has the hash that the lock has.
fn locked(component: &str, package: &str) -> Result<PathBuf> {
    let lock = Lock::load(&places::workspace().join("kernel/components.lock"))?;
    let mut locked = lock.package.into_iter().filter(|locked| locked.architecture == Architecture::Aarch64);
    let locked = locked.find(|locked| locked.component == component && locked.deb.name.starts_with(package));
    let deb = locked.with_context(|| format!("no {package} is locked for {component}"))?.deb;
    let file = images::cache()?.join("sha256").join(deb.sha256.to_string());
    let found = digest::of_file(&file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(found == deb.sha256, "{} in the cache has the SHA-256 {found}", deb.name);
    Ok(file)
}

/// Takes what matches a pattern out of a package with Debian's own tool, into one folder.
fn unpack(package: &Path, pattern: &str, folder: &Path) -> Result<()> {
    let mut packed = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let stream = packed.stdout.take().context("it was asked for")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--wildcards", "--transform", "s,.*/,,", "--directory"]).arg(folder).arg(pattern);
    let output = tar.stdin(stream).output().context("cannot run tar")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(packed.wait()?.success() && output.status.success(), "cannot unpack {pattern}: {words}");
    Ok(())
}

fn same_trees(esp: &Esp, packed: &Path) -> Result<()> {
    let names: Vec<_> = esp.paths().filter(|path| path.ends_with(".dtb")).collect();
    ensure!(names.len() > 1, "it has these alone: {names:?}");
    for name in names {
        let own = packed.join("own");
        fs::write(&own, esp.file(name)?)?;
        devicetree_tool("fdtput", &["-r"], &own, &[UBOOT_NODE])?;
        let text = |file: &Path| devicetree_tool("dtc", &["-q", "-s", "-I", "dtb", "-O", "dts"], file, &[]);
        ensure!(text(&own)? == text(&packed.join(name))?, "{name} differs");
    }
    Ok(())
}

fn ram(image: &Path) -> Result<Files> {
    initramfs::read(&BootFiles::read(image)?.initramfs)
}

/// Modules by name, and those that the kernel has built in.
fn known(ram: &Files) -> Result<BTreeSet<String>> {
    let index = ram.get("skerry/modules/modules.json").context("the initramfs has no modules.json")?;
    let index: Value = serde_json::from_slice(&index.bytes)?;
    let modules = index["modules"].as_object().context("modules.json names no modules")?.keys().cloned();
    let builtin = index["builtin_aliases"].as_array().context("modules.json names no built-in ones")?;
    Ok(modules.chain(builtin.iter().filter_map(Value::as_str).map(str::to_owned)).collect())
}

fn has_drivers(image: &Path, drivers: &[&str]) -> Result<()> {
    let known = known(&ram(image)?)?;
    let missing: Vec<_> = drivers.iter().filter(|name| !known.contains(**name)).collect();
    ensure!(missing.is_empty(), "neither module nor built in: {missing:?}");
    Ok(())
}

fn firmware_of_r8169(image: &Path) -> Result<()> {
    let ram = ram(image)?;
    let module = &ram.get("skerry/modules/r8169.ko").context("it is no module")?.bytes;
    let named: Vec<_> = module.split(|byte| *byte == 0).filter_map(|text| text.strip_prefix(b"firmware=")).collect();
    ensure!(named.len() > 10, "the driver names {} files", named.len());
    for name in named {
        let path = format!("skerry/firmware/{}", String::from_utf8_lossy(name));
        ensure!(ram.get(&path).is_some_and(|file| !file.bytes.is_empty()), "{path} is not there");
    }
    Ok(())
}

fn microcode(image: &Path) -> Result<()> {
    let files = initramfs::read(Uki::read(image)?.section(".ucode")?)?;
    for (vendor, least) in [("GenuineIntel", 1 << 20), ("AuthenticAMD", 16 << 10)] {
        let path = format!("kernel/x86/microcode/{vendor}.bin");
        let bytes = files.get(&path).with_context(|| format!("{path} is not there"))?.bytes.len();
        ensure!(bytes > least, "{path} has {bytes} bytes");
    }
    Ok(())
}

/// The consoles of the command line, without speeds.
fn consoles(image: &Path) -> Result<Vec<String>> {
    let line = BootFiles::read(image)?.command_line;
    let named = line.split_whitespace().filter_map(|word| word.strip_prefix("console="));
    Ok(named.map(|name| name.split(',').next().unwrap_or(name).to_owned()).collect())
}

fn serial_port(image: &Path, port: &str, alias: &str) -> Result<()> {
    let consoles = consoles(image)?;
    ensure!(consoles.iter().any(|name| name == port), "its consoles are {consoles:?}");
    let esp = Esp::read(image)?;
    for path in esp.paths().filter(|path| path.ends_with(".dtb")) {
        let node = property(esp.file(path)?, "/aliases", alias)?;
        ensure!(node.starts_with('/'), "{path}: {alias} is {node:?}");
    }
    Ok(())
}

fn device_trees(image: &Path, filters: &[&str]) -> Result<()> {
    let esp = Esp::read(image)?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    let named: Vec<_> = config.values("device_tree").collect();
    ensure!(named.iter().map(|(filter, _)| *filter).eq(filters.iter().copied()), "config.txt names {named:?}");
    for (filter, name) in named {
        let expected = MODELS.iter().find(|(known, _)| *known == filter).context("a filter nobody knows")?.1;
        let model = property(esp.file(&config.in_slot(name))?, "/", "model")?;
        ensure!(model.starts_with(expected), "[{filter}] names {name}, which is for {model}");
    }
    Ok(())
}

/// A text of a device tree, as the device tree compiler's own tool reads it.
fn property(devicetree: &[u8], node: &str, name: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), devicetree)?;
    Ok(devicetree_tool("fdtget", &["-t", "s"], file.path(), &[node, name])?.trim().to_owned())
}

/// What one of the device tree compiler's tools says of a file.
fn devicetree_tool(tool: &str, flags: &[&str], file: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(tool).args(flags).arg(file).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {tool}; `make setup` installs it"))?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{tool} {}: {words}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
