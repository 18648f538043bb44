//! What is known of the machine's links: the planner's input. Reading it is the business of `netlink` and of [`LinkKind::of`].

use std::path::Path;

/// What sort of link it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// The loopback link.
    Loopback,
    /// An Ethernet port with a device behind it.
    Wired,
    /// Anything else: wireless, or made by software (bridges, veth pairs, tunnels).
    Other,
}

/// ARPHRD_ETHER (linux/if_arp.h).
const ETHERNET: &str = "1";

/// ARPHRD_LOOPBACK.
const LOOPBACK: &str = "772";

impl LinkKind {
    /// Looks a link up below `sys` (`/sys`). A link that has just vanished is [`LinkKind::Other`].
    pub fn of(sys: &Path, name: &str) -> Self {
        let folder = sys.join("class/net").join(name);
        let hardware = std::fs::read_to_string(folder.join("type")).unwrap_or_default();
        let has = |file: &str| folder.join(file).exists();
        match hardware.trim() {
            LOOPBACK => Self::Loopback,
            ETHERNET if has("device") && !has("phy80211") && !has("wireless") => Self::Wired,
            _ => Self::Other,
        }
    }
}

/// One link as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// The kernel's number; never used twice while the machine runs.
    pub index: u32,
    /// The kernel's name.
    pub name: String,
    /// Hardware address, when it is an Ethernet one.
    pub mac: Option<[u8; 6]>,
    /// What sort of link it is.
    pub kind: LinkKind,
    /// Administratively up.
    pub up: bool,
    /// A cable is plugged in and the other end answers.
    pub carrier: bool,
    /// Bytes.
    pub mtu: u32,
}

/// The six-pair form of a hardware address, as configurations write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_with_a_device_are_wired() {
        let sys = tempfile::tempdir().expect("a temp folder");
        let link = |name: &str, hardware: &str, children: &[&str]| {
            let folder = sys.path().join("class/net").join(name);
            std::fs::create_dir_all(&folder).expect("it can be made");
            std::fs::write(folder.join("type"), format!("{hardware}\n")).expect("it can be written");
            for child in children {
                std::fs::create_dir(folder.join(child)).expect("it can be made");
            }
            LinkKind::of(sys.path(), name)
        };
        assert_eq!(link("lo", "772", &[]), LinkKind::Loopback);
        assert_eq!(link("eth0", "1", &["device"]), LinkKind::Wired);
        assert_eq!(link("wlan0", "1", &["device", "phy80211"]), LinkKind::Other);
        assert_eq!(link("veth1", "1", &[]), LinkKind::Other);
        assert_eq!(link("docker0", "1", &["bridge"]), LinkKind::Other);
        assert_eq!(link("can0", "280", &["device"]), LinkKind::Other);
        assert_eq!(LinkKind::of(sys.path(), "gone"), LinkKind::Other);
    }

    #[test]
    fn macs_are_written_as_configurations_write_them() {
        assert_eq!(mac_text([0x52, 0x54, 0, 0x12, 0xab, 6]), "52:54:00:12:ab:06");
    }
}
