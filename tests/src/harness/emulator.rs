//! From what a guest needs to the emulator's arguments: a pure plan, so that what runs can be printed and compared.

use std::path::{Path, PathBuf};

use super::accelerator::Accelerator;
use super::firmware::Firmware;
use super::hardware::{Chassis, DiskBus, Medium, NetworkCard, Wiring, disk_arguments, medium_arguments, network_arguments};

/// The balloon's name inside the emulator.
pub const BALLOON: &str = "balloon";

/// How code of another processor is run.
const EMULATED: &str = "tcg,thread=multi";

/// The network card's name inside the emulator.
pub const NETWORK_CARD: &str = "card";

/// One virtual machine: everything a test may choose about it.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Names the log folder; letters, digits and `-`.
    pub name: String,
    /// The sort of machine.
    pub chassis: Chassis,
    /// How its disk is attached.
    pub disk_bus: DiskBus,
    /// A second medium to boot from.
    pub medium: Option<Medium>,
    /// Its one network card; none: it has none.
    pub card: Option<NetworkCard>,
    /// Where the card's cable leads.
    pub wiring: Wiring,
    /// The firmware's number for booting over the card; none: it does not. The disk has the number 1.
    pub network_bootindex: Option<u8>,
    /// Which serial port is the console.
    pub port: SerialPort,
    /// The emulator to run; none: the host's for the chassis.
    pub emulator: Option<Emulator>,
    /// Memory.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// SMBIOS serial number, which a configuration may name as its target.
    pub serial: String,
    /// MAC address of the network card.
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
    /// Whether it runs while others do.
    pub company: Company,
}

/// Whether a machine waits until the others of this process have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// It does: machines share the host's processors badly.
    Alone,
    /// It does not: the story needs several at once.
    BesideOthers,
}

/// The serial port whose output is the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialPort {
    /// The only one, or the full one of a Raspberry Pi.
    First,
    /// The small one of a Raspberry Pi, which its header carries.
    Second,
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

/// A kernel, or another program for the bare machine, that the emulator starts directly.
#[derive(Debug, Clone)]
pub struct DirectKernel {
    /// The kernel image.
    pub kernel: PathBuf,
    /// Its initramfs; none: it needs none.
    pub initrd: Option<PathBuf>,
    /// The description of the machine; none: the emulator's own.
    pub devicetree: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
}

/// An emulator that is not the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// The program to start.
    pub program: PathBuf,
    /// Arguments before all others.
    pub arguments: Vec<String>,
}

impl Guest {
    /// A guest as the tests like it: 1 GiB, two CPUs, the API's port forwarded.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            chassis: Chassis::Pc,
            disk_bus: DiskBus::Virtio,
            medium: None,
            card: Some(NetworkCard::Virtio),
            wiring: Wiring::User,
            network_bootindex: None,
            port: SerialPort::First,
            emulator: None,
            memory_mib: 1024,
            cpus: 2,
            serial: format!("SKERRY-{}", name.to_uppercase()),
            mac: "52:54:00:5c:e4:41".into(),
            forwards: vec![api::DEFAULT_PORT],
            kernel: None,
            cable: Cable::Plugged,
            balloon: false,
            lifetime: Lifetime::OfItsStarter,
            company: Company::Alone,
        }
    }

    /// The same on a generic arm64 machine.
    pub fn arm64(name: &str) -> Self {
        Self { chassis: Chassis::ARM, ..Self::new(name) }
    }

    /// The program that emulates it.
    pub fn program(&self) -> &Path {
        self.emulator.as_ref().map_or_else(|| Path::new(self.chassis.program()), |emulator| &emulator.program)
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
    let mut list = guest.emulator.as_ref().map_or_else(Vec::new, |emulator| emulator.arguments.clone());
    let mut add = |flag: &str, value: String| list.extend([flag.to_owned(), value]);
    add("-name", guest.name.clone());
    machine_arguments(guest, accelerator, &mut add);
    firmware_arguments(files.firmware.as_ref(), &mut add);
    if let Some(disk) = &files.disk {
        disk_arguments(guest.chassis, guest.disk_bus, disk, &mut add);
    }
    if let Some(medium) = &guest.medium {
        medium_arguments(guest.chassis, medium, &mut add);
    }
    if let Some(card) = guest.card {
        network_arguments(card, &guest.wiring, &guest.mac, &guest.forwards, guest.network_bootindex, &mut add);
    }
    if !guest.chassis.is_raspberry_pi() {
        add("-device", "virtio-rng-pci".into());
    }
    if guest.balloon {
        add("-device", format!("virtio-balloon-pci,id={BALLOON}"));
    }
    add("-qmp", format!("unix:{},server=on,wait=off", escaped(&files.qmp)));
    if let Some(direct) = &guest.kernel {
        kernel_arguments(direct, &mut add);
    }
    serial_arguments(guest, console, &mut add);
    list.extend(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"].map(Into::into));
    list
}

/// Chassis, CPU and memory. A Raspberry Pi's are what they are.
fn machine_arguments(guest: &Guest, accelerator: &Accelerator, add: &mut impl FnMut(&str, String)) {
    add("-machine", guest.chassis.machine().into());
    let (accel, cpu) = match guest.chassis {
        Chassis::Pc => (accelerator.accel(), accelerator.cpu()),
        Chassis::Arm { cpu } => (EMULATED, cpu),
        Chassis::RaspberryPi3 | Chassis::RaspberryPi4 => return add("-accel", EMULATED.into()),
    };
    add("-accel", accel.into());
    add("-cpu", cpu.into());
    add("-smp", guest.cpus.to_string());
    add("-m", format!("{}M", guest.memory_mib));
    add("-rtc", "base=utc".into());
    add("-boot", "menu=on,splash-time=0".into());
    add("-smbios", format!("type=1,manufacturer=Skerry,product=Virtual,serial={}", guest.serial));
}

fn kernel_arguments(direct: &DirectKernel, add: &mut impl FnMut(&str, String)) {
    add("-kernel", direct.kernel.display().to_string());
    if let Some(initrd) = &direct.initrd {
        add("-initrd", initrd.display().to_string());
    }
    if let Some(devicetree) = &direct.devicetree {
        add("-dtb", devicetree.display().to_string());
    }
    if !direct.command_line.is_empty() {
        add("-append", direct.command_line.clone());
    }
}

/// The serial console. A Raspberry Pi has two ports: first the full one, `ttyAMA0`, then the small one of the header, `ttyS1`.
fn serial_arguments(guest: &Guest, console: ConsoleTo, add: &mut impl FnMut(&str, String)) {
    let here = match console {
        ConsoleTo::Pipe => "stdio",
        ConsoleTo::Terminal => "mon:stdio",
    };
    if guest.chassis.is_raspberry_pi() && guest.port == SerialPort::Second {
        add("-serial", "null".into());
    }
    add("-serial", here.into());
}

fn firmware_arguments(firmware: Option<&Firmware>, add: &mut impl FnMut(&str, String)) {
    if let Some(firmware) = firmware {
        add("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", escaped(&firmware.code)));
        add("-drive", format!("if=pflash,unit=1,format=raw,file={}", escaped(&firmware.variables)));
    }
}

/// The emulator separates options by commas; a comma in a value is written twice.
pub(super) fn escaped(path: &Path) -> String {
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
        let kernel = DirectKernel {
            kernel: "/k".into(),
            initrd: Some("/i".into()),
            devicetree: None,
            command_line: "quiet panic=10".into(),
        };
        let guest = Guest { kernel: Some(kernel), forwards: vec![], ..Guest::new("floor") };
        let files = RunFiles { disk: None, firmware: None, qmp: "/tmp/qmp".into() };
        let list = arguments(&guest, &Accelerator::Kvm, &files, ConsoleTo::Terminal).join(" ");
        assert!(list.contains("-kernel /k -initrd /i -append quiet panic=10 -serial mon:stdio"), "{list}");
        assert!(!list.contains("pflash") && !list.contains("hostfwd") && !list.contains("virtio-blk"), "{list}");
    }

    #[test]
    fn the_arguments_of_an_sd_cards_boot_are_these() {
        let kernel = DirectKernel {
            kernel: "/u-boot".into(),
            initrd: None,
            devicetree: Some("/pi.dtb".into()),
            command_line: String::new(),
        };
        let guest = Guest {
            chassis: Chassis::RaspberryPi3,
            disk_bus: DiskBus::SdCard,
            card: Some(NetworkCard::Usb),
            port: SerialPort::Second,
            kernel: Some(kernel),
            ..Guest::new("pi")
        };
        let files = RunFiles { firmware: None, ..files() };
        let list = arguments(&guest, &Accelerator::Kvm, &files, ConsoleTo::Pipe);
        let expected = "-name pi -machine raspi3b -accel tcg,thread=multi -drive if=sd,format=raw,cache=unsafe,file=/logs/a,,b/disk.img \
            -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:7440 -device usb-net,id=card,netdev=net,mac=52:54:00:5c:e4:41 \
            -qmp unix:/tmp/qmp,server=on,wait=off -kernel /u-boot -dtb /pi.dtb -serial null -serial stdio -nodefaults -no-user-config \
            -display none -vga none";
        assert_eq!(list.join(" "), expected);
    }

    #[test]
    fn another_processor_is_emulated_whatever_the_host_offers() {
        let list = arguments(&Guest::arm64("arm"), &Accelerator::Kvm, &files(), ConsoleTo::Pipe).join(" ");
        assert!(list.contains("-machine virt -accel tcg,thread=multi -cpu cortex-a72 "), "{list}");
        let own = Emulator { program: "/q/ld.so".into(), arguments: vec!["/q/qemu".into()] };
        let guest = Guest { emulator: Some(own), ..Guest::arm64("arm") };
        assert_eq!(guest.program(), Path::new("/q/ld.so"));
        assert_eq!(arguments(&guest, &Accelerator::Kvm, &files(), ConsoleTo::Pipe)[..2], ["/q/qemu", "-name"]);
    }
}
