//! What a guest's machine is made of: chassis, disk, network card, boot medium. Each says its emulator arguments and nothing else.
//!
//! The machines stand for the boards: a PC for NUCs, Arm's `virt` for arm64 with UEFI, and the emulator's Raspberry Pis.

use std::path::{Path, PathBuf};

use super::emulator::{NETWORK_CARD, escaped};

/// The sort of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chassis {
    /// A PC of today (`q35`), x86-64.
    Pc,
    /// Arm's virtual machine with this CPU, arm64.
    Arm {
        /// The emulator's `-cpu`.
        cpu: &'static str,
    },
    /// A Raspberry Pi 3 B. Its memory and CPUs are fixed.
    RaspberryPi3,
    /// A Raspberry Pi 4 B. Its memory and CPUs are fixed, and only QEMU 9 or later knows it.
    RaspberryPi4,
}

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    /// virtio over PCI.
    Virtio,
    /// NVMe.
    Nvme,
    /// SATA behind AHCI.
    Ahci,
    /// A USB stick behind xHCI.
    Usb,
    /// The SD card slot of a Raspberry Pi.
    SdCard,
}

/// The network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkCard {
    /// virtio over PCI.
    Virtio,
    /// Intel's 82574, as in many industrial PCs.
    E1000e,
    /// Intel's 82576; QEMU 8 or later.
    Igb,
    /// An adapter on USB, of the class every driver knows.
    Usb,
}

/// Where the network cable leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wiring {
    /// To the emulator's own network, which reaches nothing but forwarded ports.
    User,
    /// To the emulator's own network, from which this host answers at 10.0.2.2, as a hub somewhere on the internet would.
    UserAndHost,
    /// To this tap device of the namespace the emulator runs in.
    Tap(String),
}

/// A second medium to boot from, beside the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// The image on it.
    pub image: PathBuf,
    /// What it is.
    pub sort: MediumSort,
    /// Whether the firmware tries it first.
    pub order: MediumOrder,
}

/// What a boot medium is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediumSort {
    /// A CD, which cannot be written.
    Cd,
    /// A USB stick; the guest may write it, and the image then changes.
    UsbStick,
}

/// When the firmware tries a medium. The disk has the number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediumOrder {
    /// Before the disk.
    First,
    /// When the disk does not boot.
    Last,
}

impl MediumOrder {
    fn bootindex(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Last => 2,
        }
    }
}

impl Chassis {
    /// A generic arm64 machine: the CPU of a Raspberry Pi 4.
    pub const ARM: Self = Self::Arm { cpu: "cortex-a72" };

    /// The emulator's program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Pc => "qemu-system-x86_64",
            Self::Arm { .. } | Self::RaspberryPi3 | Self::RaspberryPi4 => "qemu-system-aarch64",
        }
    }

    /// The emulator's `-machine`.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Self::Pc => "q35,vmport=off",
            Self::Arm { .. } => "virt",
            Self::RaspberryPi3 => "raspi3b",
            Self::RaspberryPi4 => "raspi4b",
        }
    }

    /// Whether the machine is a Raspberry Pi: no PCI, no firmware interface, everything on the board.
    pub fn is_raspberry_pi(self) -> bool {
        match self {
            Self::Pc | Self::Arm { .. } => false,
            Self::RaspberryPi3 | Self::RaspberryPi4 => true,
        }
    }
}

/// The arguments of a raw disk at `path`, which the firmware tries as number 1.
pub(super) fn disk_arguments(chassis: Chassis, bus: DiskBus, path: &Path, add: &mut impl FnMut(&str, String)) {
    let drive = |interface: &str| format!("if={interface},format=raw,cache=unsafe,file={}", escaped(path));
    if (chassis, bus) == (Chassis::RaspberryPi3, DiskBus::SdCard) {
        return add("-drive", drive("sd"));
    }
    add("-drive", format!("if=none,id=disk,{}", drive("none").trim_start_matches("if=none,")));
    match bus {
        DiskBus::Virtio => add("-device", "virtio-blk-pci,drive=disk,serial=skerry-disk,bootindex=1".into()),
        DiskBus::Nvme => add("-device", "nvme,drive=disk,serial=skerry-disk,bootindex=1".into()),
        DiskBus::Ahci => {
            if chassis != Chassis::Pc {
                add("-device", "ich9-ahci,id=ide".into()); // a PC has it on board
            }
            add("-device", "ide-hd,drive=disk,bus=ide.0,serial=skerry-disk,bootindex=1".into());
        }
        DiskBus::Usb => {
            add("-device", "qemu-xhci,id=xhci".into());
            add("-device", "usb-storage,drive=disk,bus=xhci.0,serial=skerry-disk,removable=on,bootindex=1".into());
        }
        // The first bus of this name is the card slot; `if=sd` would land on the controller of the radio.
        DiskBus::SdCard => add("-device", "sd-card,drive=disk,bus=/generic-sdhci/sd-bus".into()),
    }
}

/// The arguments of a second boot medium.
pub(super) fn medium_arguments(chassis: Chassis, medium: &Medium, add: &mut impl FnMut(&str, String)) {
    let file = escaped(&medium.image);
    let bootindex = medium.order.bootindex();
    match medium.sort {
        MediumSort::Cd => {
            add("-drive", format!("if=none,id=medium,format=raw,media=cdrom,readonly=on,file={file}"));
            if chassis == Chassis::Pc {
                add("-device", format!("ide-cd,drive=medium,bus=ide.1,bootindex={bootindex}"));
            } else {
                add("-device", "virtio-scsi-pci,id=scsi".into());
                add("-device", format!("scsi-cd,drive=medium,bus=scsi.0,bootindex={bootindex}"));
            }
        }
        MediumSort::UsbStick => {
            add("-drive", format!("if=none,id=medium,format=raw,cache=unsafe,file={file}"));
            add("-device", "qemu-xhci,id=medium-xhci".into());
            add("-device", format!("usb-storage,drive=medium,bus=medium-xhci.0,removable=on,bootindex={bootindex}"));
        }
    }
}

/// The arguments of the network: where the cable leads, then the card. With `bootindex` the firmware boots over it.
pub(super) fn network_arguments(
    card: NetworkCard,
    wiring: &Wiring,
    mac: &str,
    forwards: &[u16],
    bootindex: Option<u8>,
    add: &mut impl FnMut(&str, String),
) {
    add("-netdev", netdev(wiring, forwards));
    let common = format!("id={NETWORK_CARD},netdev=net,mac={mac}");
    let boot = bootindex.map_or_else(String::new, |index| format!(",bootindex={index}"));
    add(
        "-device",
        match card {
            NetworkCard::Virtio => format!("virtio-net-pci,{common},romfile={boot}"),
            NetworkCard::E1000e => format!("e1000e,{common},romfile={boot}"),
            NetworkCard::Igb => format!("igb,{common},romfile={boot}"),
            NetworkCard::Usb => format!("usb-net,{common}"),
        },
    );
}

/// User networking reaches nothing outside the guest (`restrict`) unless the host is meant to be reached; its host ports are chosen by the system.
fn netdev(wiring: &Wiring, forwards: &[u16]) -> String {
    let forwards = forwards.iter().map(|port| format!(",hostfwd=tcp:127.0.0.1:0-:{port}")).collect::<String>();
    match wiring {
        Wiring::User => format!("user,id=net,restrict=on{forwards}"),
        Wiring::UserAndHost => format!("user,id=net{forwards}"),
        Wiring::Tap(device) => format!("tap,id=net,ifname={device},script=no,downscript=no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(collect: impl FnOnce(&mut dyn FnMut(&str, String))) -> String {
        let mut list = Vec::new();
        collect(&mut |flag, value| list.extend([flag.to_owned(), value]));
        list.join(" ")
    }

    #[test]
    fn each_bus_attaches_the_disk_where_the_board_has_it() {
        let table = [
            (Chassis::Pc, DiskBus::Nvme, "nvme,drive=disk,serial=skerry-disk,bootindex=1"),
            (Chassis::Pc, DiskBus::Ahci, "ide-hd,drive=disk,bus=ide.0"),
            (Chassis::ARM, DiskBus::Ahci, "-device ich9-ahci,id=ide -device ide-hd"),
            (Chassis::Pc, DiskBus::Usb, "usb-storage,drive=disk,bus=xhci.0"),
            (Chassis::RaspberryPi3, DiskBus::SdCard, "-drive if=sd,format=raw"),
            (Chassis::RaspberryPi4, DiskBus::SdCard, "sd-card,drive=disk,bus=/generic-sdhci/sd-bus"),
        ];
        for (chassis, bus, expected) in table {
            let arguments = joined(|mut add| disk_arguments(chassis, bus, Path::new("/d,1.img"), &mut add));
            assert!(arguments.contains(expected) && arguments.contains("file=/d,,1.img"), "{chassis:?} {bus:?}: {arguments}");
        }
    }

    #[test]
    fn a_medium_is_tried_before_or_after_the_disk() {
        let medium = |sort, order| Medium { image: "/m.iso".into(), sort, order };
        let cd = joined(|mut add| medium_arguments(Chassis::Pc, &medium(MediumSort::Cd, MediumOrder::Last), &mut add));
        assert!(cd.contains("readonly=on") && cd.contains("ide-cd,drive=medium,bus=ide.1,bootindex=2"), "{cd}");
        let cd = joined(|mut add| medium_arguments(Chassis::ARM, &medium(MediumSort::Cd, MediumOrder::First), &mut add));
        assert!(cd.contains("scsi-cd,drive=medium,bus=scsi.0,bootindex=0"), "{cd}");
        let stick = joined(|mut add| medium_arguments(Chassis::Pc, &medium(MediumSort::UsbStick, MediumOrder::First), &mut add));
        assert!(stick.contains("usb-storage,drive=medium,bus=medium-xhci.0,removable=on,bootindex=0"), "{stick}");
    }

    #[test]
    fn a_tap_is_opened_without_scripts_and_may_be_booted_over() {
        let wiring = Wiring::Tap("tap7".into());
        let arguments = joined(|mut add| network_arguments(NetworkCard::E1000e, &wiring, "m", &[1], Some(0), &mut add));
        let expected =
            "-netdev tap,id=net,ifname=tap7,script=no,downscript=no -device e1000e,id=card,netdev=net,mac=m,romfile=,bootindex=0";
        assert_eq!(arguments, expected);
    }
}
