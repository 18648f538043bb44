//! The files there are, by name: the one list that TFTP and HTTP share. A name that is not of this form is no file, so there is no path to traverse
//! and nothing on the disk to reach.

use std::fmt;
use std::str::FromStr;

use machine_config::types::MacAddress;

use crate::board::Architecture;

/// The image's name in a machine's folder.
const IMAGE: &str = "skerry.efi";
/// The script's name in a machine's folder.
const SCRIPT: &str = "boot.ipxe";

/// Whose image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// That of the machine with this address.
    Machine(MacAddress),
    /// The one without a name, for an architecture.
    Blank(Architecture),
}

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Served {
    /// iPXE for an architecture.
    Ipxe(Architecture),
    /// An image.
    Image(Which),
    /// What iPXE does to load an image.
    Script(Which),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(mac) => f.write_str(&mac.as_str().replace(':', "-")),
            Self::Blank(architecture) => write!(f, "blank-{architecture}"),
        }
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipxe(architecture) => write!(f, "ipxe/{architecture}.efi"),
            Self::Image(which) => write!(f, "boot/{which}/{IMAGE}"),
            Self::Script(which) => write!(f, "boot/{which}/{SCRIPT}"),
        }
    }
}

/// There is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such file")]
pub struct NoSuchFile;

impl FromStr for Which {
    type Err = NoSuchFile;

    fn from_str(text: &str) -> Result<Self, NoSuchFile> {
        if let Some(name) = text.strip_prefix("blank-") {
            return Ok(Self::Blank(architecture(name)?));
        }
        let mac = text.replace('-', ":").parse().map_err(|_| NoSuchFile)?;
        // Written with colons it would be a second name for the same file.
        if text.contains(':') { Err(NoSuchFile) } else { Ok(Self::Machine(mac)) }
    }
}

impl FromStr for Served {
    type Err = NoSuchFile;

    /// The file of a name. One slash before it is taken for none: firmware adds it, HTTP has it always.
    fn from_str(text: &str) -> Result<Self, NoSuchFile> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if let Some(name) = text.strip_prefix("ipxe/") {
            return Ok(Self::Ipxe(architecture(name.strip_suffix(".efi").ok_or(NoSuchFile)?)?));
        }
        let (which, file) = text.strip_prefix("boot/").and_then(|rest| rest.split_once('/')).ok_or(NoSuchFile)?;
        match file {
            IMAGE => Ok(Self::Image(which.parse()?)),
            SCRIPT => Ok(Self::Script(which.parse()?)),
            _ => Err(NoSuchFile),
        }
    }
}

fn architecture(name: &str) -> Result<Architecture, NoSuchFile> {
    let all = [Architecture::X86_64, Architecture::Aarch64];
    all.into_iter().find(|architecture| architecture.as_str() == name).ok_or(NoSuchFile)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_file_has_one_name() {
        let mac = Which::Machine("52:54:00:ab:00:01".parse().expect("a MAC address"));
        let blank = Which::Blank(Architecture::Aarch64);
        for (file, name) in [
            (Served::Ipxe(Architecture::X86_64), "ipxe/x86_64.efi"),
            (Served::Image(mac.clone()), "boot/52-54-00-ab-00-01/skerry.efi"),
            (Served::Script(mac), "boot/52-54-00-ab-00-01/boot.ipxe"),
            (Served::Image(blank.clone()), "boot/blank-aarch64/skerry.efi"),
            (Served::Script(blank), "boot/blank-aarch64/boot.ipxe"),
        ] {
            assert_eq!(file.to_string(), name);
            assert_eq!(name.parse(), Ok(file.clone()));
            assert_eq!(format!("/{name}").parse(), Ok(file));
        }
    }

    #[test]
    fn what_is_no_name_is_no_file() {
        for name in [
            "",
            "/",
            "boot",
            "boot/",
            "//boot/52-54-00-ab-00-01/skerry.efi",
            "boot/../etc/passwd",
            "../../etc/passwd",
            "boot/52-54-00-ab-00-01/../52-54-00-ab-00-02/skerry.efi",
            "boot/52-54-00-ab-00-01/skerry.efi/",
            "boot/52-54-00-ab-00-01/skerry.efi\0.txt",
            "boot/52:54:00:ab:00:01/skerry.efi",
            "boot/52-54-00-AB-00-01/skerry.efi",
            "boot/52-54-00-ab-00/skerry.efi",
            "boot/blank-riscv/skerry.efi",
            "ipxe/x86_64.efi.bak",
            "ipxe/../x86_64.efi",
            "boot\\52-54-00-ab-00-01\\skerry.efi",
            "%2e%2e/x",
        ] {
            assert_eq!(name.parse::<Served>(), Err(NoSuchFile), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_taken_is_the_files_own(name in "(boot|ipxe)?/?[a-z0-9-]{0,18}/?(skerry|boot|[./]{0,4}).?(efi|ipxe)?") {
            if let Ok(file) = name.parse::<Served>() {
                prop_assert_eq!(file.to_string(), name.strip_prefix('/').unwrap_or(&name));
            }
        }
    }
}
