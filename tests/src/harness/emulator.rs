//! From what a guest needs to the emulator's arguments: a pure plan, so that what runs can be printed and compared.

use std::path::{Path, PathBuf};

use super::accelerator::Accelerator;
use super::firmware::Firmware;

/// The emulator's program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The balloon's name inside the emulator.
pub const BALLOON: &str = "balloon";

/// The network card's name inside the emulator.
pub const NETWORK_CARD: &str = "card";

/// One virtual machine: everything a test may choose about it.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Names the log folder; letters, digits and `-`.
    pub name: String,
    /// Memory.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// SMBIOS serial number, which a configuration may name as its target.
    pub serial: String,
    /// MAC address of its one network card.
    pub mac: String,
    /// Guest TCP ports made reachable on this host's loopback address.
    pub forwards: Vec<u16>,
    /// Boots this instead of what is on the disk.
    pub kernel: Option<DirectKernel>,
    /// Whether its network cable is plugged in when it starts.
    pub cable: Cable,
    /// A memory balloon, through which the emulator learns how much memory the guest has left.
    pub balloon: bool,
    /// Whether the machine may outlive the program that started it.
    pub lifetime: Lifetime,
}

/// A network cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    /// The link has a carrier.
    Plugged,
    /// It has none.
    Unplugged,
}

/// How long a machine may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// At most as long as the thread that started it, whatever happens to that.
    OfItsStarter,
    /// Until it powers itself off.
    ItsOwn,
}

/// A kernel the firmware is handed directly.
#[derive(Debug, Clone)]
pub struct DirectKernel {
    /// The kernel image.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// Its command line.
    pub command_line: String,
}

impl Guest {
    /// A guest as the tests like it: 1 GiB, two CPUs, the API's port forwarded.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            memory_mib: 1024,
            cpus: 2,
            serial: format!("SKERRY-{}", name.to_uppercase()),
            mac: "52:54:00:5c:e4:41".into(),
            forwards: vec![api::DEFAULT_PORT],
            kernel: None,
            cable: Cable::Plugged,
            balloon: false,
            lifetime: Lifetime::OfItsStarter,
        }
    }
}

/// The files one run of the emulator uses.
#[derive(Debug, Clone)]
pub struct RunFiles {
    /// The guest's disk; none: it has none.
    pub disk: Option<PathBuf>,
    /// Firmware code, and this run's own copy of the variables; none: the emulator's built-in BIOS.
    pub firmware: Option<Firmware>,
    /// Where the emulator listens for QMP.
    pub qmp: PathBuf,
}

/// Where the guest's serial console goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleTo {
    /// The emulator's standard output, read by the harness.
    Pipe,
    /// The terminal, with the emulator's monitor behind Ctrl-A C and its end behind Ctrl-A X.
    Terminal,
}

/// The emulator's arguments for `guest`.
pub fn arguments(guest: &Guest, accelerator: &Accelerator, files: &RunFiles, console: ConsoleTo) -> Vec<String> {
    let mut list = Vec::new();
    let mut add = |flag: &str, value: String| list.extend([flag.to_owned(), value]);
    add("-name", guest.name.clone());
    add("-machine", "q35,vmport=off".into());
    add("-accel", accelerator.accel().into());
    add("-cpu", accelerator.cpu().into());
    add("-smp", guest.cpus.to_string());
    add("-m", format!("{}M", guest.memory_mib));
    add("-rtc", "base=utc".into());
    add("-boot", "menu=on,splash-time=0".into());
    add("-smbios", format!("type=1,manufacturer=Skerry,product=Virtual,serial={}", guest.serial));
    firmware_arguments(files.firmware.as_ref(), &mut add);
    if let Some(disk) = &files.disk {
        add("-drive", format!("if=none,id=disk,format=raw,cache=unsafe,file={}", escaped(disk)));
        add("-device", "virtio-blk-pci,drive=disk,serial=skerry-disk,bootindex=1".into());
    }
    add("-netdev", network(&guest.forwards));
    add("-device", format!("virtio-net-pci,id={NETWORK_CARD},netdev=net,mac={},romfile=", guest.mac));
    add("-device", "virtio-rng-pci".into());
    if guest.balloon {
        add("-device", format!("virtio-balloon-pci,id={BALLOON}"));
    }
    add("-qmp", format!("unix:{},server=on,wait=off", escaped(&files.qmp)));
    if let Some(direct) = &guest.kernel {
        add("-kernel", direct.kernel.display().to_string());
        add("-initrd", direct.initrd.display().to_string());
        add("-append", direct.command_line.clone());
    }
    match console {
        ConsoleTo::Pipe => add("-serial", "stdio".into()),
        ConsoleTo::Terminal => add("-serial", "mon:stdio".into()),
    }
    list.extend(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"].map(Into::into));
    list
}

fn firmware_arguments(firmware: Option<&Firmware>, add: &mut impl FnMut(&str, String)) {
    if let Some(firmware) = firmware {
        add("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", escaped(&firmware.code)));
        add("-drive", format!("if=pflash,unit=1,format=raw,file={}", escaped(&firmware.variables)));
    }
}

/// User networking that reaches nothing outside the guest (`restrict`), with host ports chosen by the system.
fn network(forwards: &[u16]) -> String {
    let forwards = forwards.iter().map(|port| format!(",hostfwd=tcp:127.0.0.1:0-:{port}"));
    format!("user,id=net,restrict=on{}", forwards.collect::<String>())
}

/// The emulator separates options by commas; a comma in a value is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> RunFiles {
        RunFiles {
            disk: Some("/logs/a,b/disk.img".into()),
            firmware: Some(Firmware { code: "/fw/code.fd".into(), variables: "/logs/vars.fd".into() }),
            qmp: "/tmp/qmp".into(),
        }
    }

    #[test]
    fn the_arguments_of_an_image_boot_are_these() {
        let list = arguments(&Guest::new("golden"), &Accelerator::Tcg { cpu: "qemu64,-cx16" }, &files(), ConsoleTo::Pipe);
        let expected = "-name golden -machine q35,vmport=off -accel tcg,thread=multi -cpu qemu64,-cx16 -smp 2 -m 1024M -rtc base=utc \
            -boot menu=on,splash-time=0 -smbios type=1,manufacturer=Skerry,product=Virtual,serial=SKERRY-GOLDEN \
            -drive if=pflash,unit=0,format=raw,readonly=on,file=/fw/code.fd -drive if=pflash,unit=1,format=raw,file=/logs/vars.fd \
            -drive if=none,id=disk,format=raw,cache=unsafe,file=/logs/a,,b/disk.img \
            -device virtio-blk-pci,drive=disk,serial=skerry-disk,bootindex=1 \
            -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:7440 \
            -device virtio-net-pci,id=card,netdev=net,mac=52:54:00:5c:e4:41,romfile= -device virtio-rng-pci \
            -qmp unix:/tmp/qmp,server=on,wait=off -serial stdio -nodefaults -no-user-config -display none -vga none";
        assert_eq!(list.join(" "), expected);
    }

    #[test]
    fn a_direct_kernel_needs_neither_disk_nor_firmware() {
        let kernel = DirectKernel { kernel: "/k".into(), initrd: "/i".into(), command_line: "quiet panic=10".into() };
        let guest = Guest { kernel: Some(kernel), forwards: vec![], ..Guest::new("floor") };
        let files = RunFiles { disk: None, firmware: None, qmp: "/tmp/qmp".into() };
        let list = arguments(&guest, &Accelerator::Kvm, &files, ConsoleTo::Terminal).join(" ");
        assert!(list.contains("-kernel /k -initrd /i -append quiet panic=10 -serial mon:stdio"), "{list}");
        assert!(!list.contains("pflash") && !list.contains("hostfwd") && !list.contains("virtio-blk"), "{list}");
    }
}
