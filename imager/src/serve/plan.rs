//! What a machine is answered: pure, from what its firmware says, what the inventory says and what was served before. Chooses everything; the sockets
//! choose nothing.

use std::fmt;
use std::net::Ipv4Addr;

use super::client::{Client, Loader, Platform};
use super::names::{Served, Which};
use crate::board::Architecture;

/// What to do for machines that the inventory does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Nothing.
    Refuse,
    /// They boot without a name and wait for a configuration of the fleet.
    Maintenance,
}

/// What does not change while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where this server is.
    pub address: Ipv4Addr,
    /// Its HTTP port.
    pub http_port: u16,
    /// The architectures there is an iPXE for; on others the firmware loads the image over TFTP itself.
    pub ipxe: Vec<Architecture>,
    /// The architectures there is an image for.
    pub images: Vec<Architecture>,
    /// What to do for machines that the inventory does not list.
    pub unknown: Unknown,
    /// After how many complete loads a machine is left to its own disk; none: never.
    pub once: Option<u32>,
}

/// What the inventory and the ledger know of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The architecture of its board's image.
    pub architecture: Architecture,
    /// How often it loaded its image completely.
    pub loads: u32,
}

/// What a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// This file over TFTP.
    Tftp(String),
    /// What is at this address, over HTTP.
    Url(String),
    /// iPXE's script at this address.
    Script(String),
}

impl Boot {
    /// The boot file's name, as DHCP carries it.
    pub fn file(&self) -> &str {
        match self {
            Self::Tftp(file) | Self::Url(file) | Self::Script(file) => file,
        }
    }
}

/// Why a machine is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is set to boot as a BIOS does.
    Bios,
    /// No image is for such a processor.
    Platform(u16),
    /// It does not say what it runs.
    Unsaid,
    /// No image of its architecture is served.
    NoImage(Architecture),
    /// The inventory does not list it.
    Unknown,
    /// The image of its board is for another processor.
    WrongBoard {
        /// What it runs.
        machine: Architecture,
        /// What the inventory says.
        listed: Architecture,
    },
    /// It has loaded its image as often as it should.
    Served(u32),
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bios => f.write_str("it boots as a BIOS; set its firmware to UEFI, without CSM"),
            Self::Platform(number) => write!(f, "it runs no 64-bit UEFI (architecture {number}); no image is for it"),
            Self::Unsaid => f.write_str("its firmware does not say what processor it has (option 93); no image can be chosen"),
            Self::NoImage(machine) => write!(f, "it is {machine}, and no image for that is served; name one more image"),
            Self::Unknown => f.write_str("the inventory has no such MAC address; add it, or say --unknown maintenance"),
            Self::WrongBoard { machine, listed } => {
                write!(f, "it is {machine}, the inventory says a board that is {listed}; correct its row")
            }
            Self::Served(times) => write!(f, "it loaded its image {times} times (--once); it boots from its disk"),
        }
    }
}

/// What a machine's firmware is answered.
pub fn plan(client: &Client, known: Option<Known>, settings: &Settings) -> Result<Boot, Pass> {
    let machine = match client.platform {
        Platform::Uefi(architecture) => architecture,
        Platform::Bios => return Err(Pass::Bios),
        Platform::Other(number) => return Err(Pass::Platform(number)),
        Platform::Unsaid => return Err(Pass::Unsaid),
    };
    let which = which(client, machine, known, settings)?;
    let at = |file: Served| settings.url(&file);
    match client.loader {
        // A loaded iPXE is told so by its script: it ends at once instead of asking on.
        Loader::Ipxe => Ok(Boot::Script(at(Served::Script(which)))),
        Loader::Pxe | Loader::Http if is_served(known, settings).is_some() => {
            Err(Pass::Served(is_served(known, settings).unwrap_or_default()))
        }
        Loader::Http => Ok(Boot::Url(at(Served::Image(which)))),
        Loader::Pxe if settings.ipxe.contains(&machine) => Ok(Boot::Tftp(Served::Ipxe(machine).to_string())),
        Loader::Pxe => Ok(Boot::Tftp(Served::Image(which).to_string())),
    }
}

/// Whose image: the machine's own, or the one without a name.
fn which(client: &Client, machine: Architecture, known: Option<Known>, settings: &Settings) -> Result<Which, Pass> {
    match (known, settings.unknown) {
        (Some(known), _) if known.architecture != machine => Err(Pass::WrongBoard { machine, listed: known.architecture }),
        (Some(_), _) => Ok(Which::Machine(client.mac.clone())),
        (None, Unknown::Refuse) => Err(Pass::Unknown),
        (None, Unknown::Maintenance) if !settings.images.contains(&machine) => Err(Pass::NoImage(machine)),
        (None, Unknown::Maintenance) => Ok(Which::Blank(machine)),
    }
}

/// How often a machine has loaded, when that is as often as it should.
fn is_served(known: Option<Known>, settings: &Settings) -> Option<u32> {
    let (known, once) = (known?, settings.once?);
    (known.loads >= once).then_some(known.loads)
}

impl Settings {
    /// Where a file is over HTTP.
    pub fn url(&self, file: &Served) -> String {
        format!("http://{}:{}/{file}", self.address, self.http_port)
    }

    /// iPXE's script for a machine: load and run with the image's own command line, or leave it to its disk. iPXE's end with a failure makes firmware go
    /// on to its next boot device; a success would end in the firmware's menu.
    ///
    /// Between loading and running it asks for this script once more and forgets it: iPXE acknowledges only while it waits for something, and would take
    /// the image's last bytes without a word.
    pub fn script(&self, which: &Which, name: &str, command_line: &str, known: Option<Known>) -> String {
        let lines = match is_served(known, self) {
            Some(_) => vec![format!("echo skerry: {name} has its image; going on with the next boot device")],
            None => {
                let (image, script) = (Served::Image(which.clone()), Served::Script(which.clone()));
                vec![
                    format!("echo skerry: loading {name}"),
                    format!("kernel {} {command_line} || goto failed", self.url(&image)),
                    format!("imgfetch --name heard {} ||", self.url(&script)),
                    "imgfree heard ||".to_owned(),
                    "boot ||".to_owned(),
                    ":failed".to_owned(),
                    "echo skerry: cannot start it; going on with the next boot device".to_owned(),
                ]
            }
        };
        format!("#!ipxe\n{}\nexit 1\n", lines.join("\n"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use Architecture::{Aarch64, X86_64};

    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings {
            address: Ipv4Addr::new(10, 0, 0, 1),
            http_port: 8080,
            ipxe: vec![X86_64],
            images: vec![X86_64],
            unknown: Unknown::Refuse,
            once: None,
        }
    }

    fn client(loader: Loader, platform: Platform) -> Client {
        Client { mac: "52:54:00:00:00:01".parse().expect("a MAC address"), loader, platform }
    }

    const X64: Known = Known { architecture: X86_64, loads: 0 };
    const ARM: Known = Known { architecture: Aarch64, loads: 3 };

    #[test]
    fn each_loader_gets_what_it_can_load() {
        for (loader, platform, known, expected) in [
            (Loader::Pxe, X86_64, X64, Boot::Tftp("ipxe/x86_64.efi".into())),
            (Loader::Pxe, Aarch64, ARM, Boot::Tftp("boot/52-54-00-00-00-01/skerry.efi".into())),
            (Loader::Ipxe, X86_64, X64, Boot::Script("http://10.0.0.1:8080/boot/52-54-00-00-00-01/boot.ipxe".into())),
            (Loader::Http, X86_64, X64, Boot::Url("http://10.0.0.1:8080/boot/52-54-00-00-00-01/skerry.efi".into())),
            (Loader::Http, Aarch64, ARM, Boot::Url("http://10.0.0.1:8080/boot/52-54-00-00-00-01/skerry.efi".into())),
        ] {
            assert_eq!(plan(&client(loader, Platform::Uefi(platform)), Some(known), &settings()), Ok(expected), "{loader}");
        }
    }

    #[test]
    fn whoever_is_not_answered_has_a_reason() {
        for (platform, known, expected) in [
            (Platform::Bios, Some(X64), Pass::Bios),
            (Platform::Other(6), Some(X64), Pass::Platform(6)),
            (Platform::Unsaid, Some(X64), Pass::Unsaid),
            (Platform::Uefi(X86_64), None, Pass::Unknown),
            (Platform::Uefi(Aarch64), Some(X64), Pass::WrongBoard { machine: Aarch64, listed: X86_64 }),
        ] {
            for loader in [Loader::Pxe, Loader::Http, Loader::Ipxe] {
                assert_eq!(plan(&client(loader, platform), known, &settings()), Err(expected), "{loader} {platform:?}");
            }
        }
    }

    #[test]
    fn the_unlisted_may_boot_without_a_name() {
        let settings = Settings { unknown: Unknown::Maintenance, ..settings() };
        let ask = |loader, machine| plan(&client(loader, Platform::Uefi(machine)), None, &settings);
        let url = "http://10.0.0.1:8080/boot/blank-x86_64/skerry.efi";
        assert_eq!(ask(Loader::Http, X86_64), Ok(Boot::Url(url.into())));
        assert_eq!(ask(Loader::Pxe, X86_64), Ok(Boot::Tftp("ipxe/x86_64.efi".into())));
        assert_eq!(ask(Loader::Http, Aarch64), Err(Pass::NoImage(Aarch64)));
    }

    #[test]
    fn a_machine_that_loaded_often_enough_boots_from_its_disk() {
        let settings = Settings { once: Some(3), ..settings() };
        let ask = |loader| plan(&client(loader, Platform::Uefi(Aarch64)), Some(ARM), &settings);
        assert_eq!((ask(Loader::Pxe), ask(Loader::Http)), (Err(Pass::Served(3)), Err(Pass::Served(3))));
        assert!(matches!(ask(Loader::Ipxe), Ok(Boot::Script(_))));
        let which = Which::Machine("52:54:00:00:00:01".parse().expect("a MAC address"));
        let script = settings.script(&which, "store-1", "a=b c", Some(ARM));
        assert!(!script.contains("boot ||") && script.ends_with("exit 1\n"), "{script}");
        let fresh = settings.script(&which, "store-1", "a=b c", Some(Known { loads: 2, ..ARM }));
        let url = "http://10.0.0.1:8080/boot/52-54-00-00-00-01/skerry.efi";
        assert!(fresh.starts_with("#!ipxe\n") && fresh.contains(&format!("\nkernel {url} a=b c ||")), "{fresh}");
        let [heard, boot] = ["\nimgfetch --name heard ", "\nboot ||"].map(|line| fresh.find(line).expect("it is there"));
        assert!(heard < boot && fresh.contains("\nimgfree heard ||"), "{fresh}");
    }
}
