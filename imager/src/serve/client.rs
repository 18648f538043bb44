//! What a machine's boot firmware says of itself: the loader that asks and the processor it runs on. Reads the words of RFC 4578 and of the UEFI
//! specification's HTTP boot; believes none of them beyond choosing what to answer.

use std::fmt;

use machine_config::types::MacAddress;

use crate::board::Architecture;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// Firmware that loads over TFTP.
    Pxe,
    /// Firmware that loads over HTTP.
    Http,
    /// iPXE, which loads over HTTP what a script names.
    Ipxe,
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pxe => "PXE",
            Self::Http => "HTTP boot",
            Self::Ipxe => "iPXE",
        })
    }
}

/// What the machine runs, by option 93.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// 64-bit UEFI.
    Uefi(Architecture),
    /// A BIOS, or UEFI set to behave as one.
    Bios,
    /// Something there is no image for; the number that it gives.
    Other(u16),
    /// It does not say.
    Unsaid,
}

impl Platform {
    /// The platform by its number in IANA's list of processor architecture types.
    pub fn of(number: u16) -> Self {
        match number {
            0 => Self::Bios,
            // 7 is "EFI BC" by the letter and x64 in every firmware that was ever shipped.
            7 | 9 | 16 => Self::Uefi(Architecture::X86_64),
            11 | 19 => Self::Uefi(Architecture::Aarch64),
            other => Self::Other(other),
        }
    }
}

/// A machine that asks for something to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The address of the port it asks from.
    pub mac: MacAddress,
    /// Who asks.
    pub loader: Loader,
    /// What it runs.
    pub platform: Platform,
}

/// The loader, by vendor class (option 60), user class (option 77) and iPXE's own option (175). None: no boot firmware.
pub fn loader(vendor_class: &[u8], user_class: Option<&[u8]>, ipxe_options: bool) -> Option<Loader> {
    let is_ipxe = ipxe_options || user_class.is_some_and(is_ipxe_class);
    if vendor_class.starts_with(b"HTTPClient") {
        return Some(Loader::Http);
    }
    vendor_class.starts_with(b"PXEClient").then_some(if is_ipxe { Loader::Ipxe } else { Loader::Pxe })
}

/// iPXE writes its class bare; RFC 3004 wants a length before it, which relays and other builds of it put there.
fn is_ipxe_class(class: &[u8]) -> bool {
    class == b"iPXE" || class == b"\x04iPXE"
}

/// The MAC address in a DHCP message's hardware address.
pub fn mac(bytes: [u8; 6]) -> MacAddress {
    let text = bytes.map(|byte| format!("{byte:02x}")).join(":");
    text.parse().expect("six pairs of lower-case digits joined by colons are a MAC address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_are_told_apart_by_their_classes() {
        for (vendor, user, own, expected) in [
            ("PXEClient:Arch:00007:UNDI:003016", None, false, Some(Loader::Pxe)),
            ("PXEClient", None, false, Some(Loader::Pxe)),
            ("PXEClient:Arch:00007:UNDI:003010", Some("iPXE"), false, Some(Loader::Ipxe)),
            ("PXEClient:Arch:00007:UNDI:003010", Some("\x04iPXE"), false, Some(Loader::Ipxe)),
            ("PXEClient:Arch:00011:UNDI:003010", None, true, Some(Loader::Ipxe)),
            ("PXEClient:Arch:00007:UNDI:003010", Some("gPXE"), false, Some(Loader::Pxe)),
            ("HTTPClient:Arch:00016:UNDI:003001", None, false, Some(Loader::Http)),
            ("MSFT 5.0", None, false, None),
            ("udhcp 1.36", Some("iPXE"), false, None),
            ("", None, false, None),
        ] {
            assert_eq!(loader(vendor.as_bytes(), user.map(str::as_bytes), own), expected, "{vendor} {user:?}");
        }
    }

    #[test]
    fn platforms_have_the_registrys_numbers() {
        for (number, expected) in [
            (0, Platform::Bios),
            (6, Platform::Other(6)),
            (7, Platform::Uefi(Architecture::X86_64)),
            (9, Platform::Uefi(Architecture::X86_64)),
            (10, Platform::Other(10)),
            (11, Platform::Uefi(Architecture::Aarch64)),
            (15, Platform::Other(15)),
            (16, Platform::Uefi(Architecture::X86_64)),
            (19, Platform::Uefi(Architecture::Aarch64)),
            (20, Platform::Other(20)),
        ] {
            assert_eq!(Platform::of(number), expected, "{number}");
        }
    }
}
