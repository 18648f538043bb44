//! How a board gets from power-on to the kernel.

use serde::{Deserialize, Serialize};

/// How the board gets from power-on to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMethod {
    /// UEFI firmware, systemd-boot at the fallback path, one UKI per slot.
    UefiUki,
    /// A Raspberry Pi's firmware, which starts U-Boot, which offers UEFI; from there as with [`BootMethod::UefiUki`].
    RpiUboot,
    /// A Raspberry Pi's firmware, which starts the kernel itself: kernel, RAM disk and device tree are files of their own.
    RpiNative,
}

impl BootMethod {
    /// The name in board files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UefiUki => "uefi-uki",
            Self::RpiUboot => "rpi-uboot",
            Self::RpiNative => "rpi-native",
        }
    }

    /// The way, for people.
    pub fn way(self) -> &'static str {
        match self {
            Self::UefiUki => "UEFI, systemd-boot, UKI",
            Self::RpiUboot => "Raspberry Pi firmware, U-Boot, systemd-boot, UKI",
            Self::RpiNative => "Raspberry Pi firmware, kernel",
        }
    }

    /// Whether systemd-boot and a UKI are on the way.
    pub fn has_loader(self) -> bool {
        match self {
            Self::UefiUki | Self::RpiUboot => true,
            Self::RpiNative => false,
        }
    }

    /// Whether a Raspberry Pi's own firmware comes first.
    pub fn is_rpi(self) -> bool {
        match self {
            Self::RpiUboot | Self::RpiNative => true,
            Self::UefiUki => false,
        }
    }
}
