//! Which MAC address an IP address has on the bench network, as the kernel has learned it. A machine's image goes to the machine's address alone: who
//! reads another machine's URL from the log and asks for it is refused. It is no proof (addresses can be forged); it keeps honest mistakes and idle
//! curiosity out.

use std::io;
use std::net::Ipv4Addr;

use machine_config::types::MacAddress;

/// The kernel's table, of the network namespace of the thread that asks.
const TABLE: &str = "/proc/thread-self/net/arp";
/// ATF_COM: the entry is complete.
const COMPLETE: u32 = 2;

/// Who says what MAC address an IP address has.
pub(super) trait Neighbours: Send + Sync {
    /// The MAC address that `peer` has on `interface`; none: it is no neighbour there.
    ///
    /// # Errors
    /// Nobody can tell.
    fn find(&self, interface: &str, peer: Ipv4Addr) -> io::Result<Option<MacAddress>>;
}

/// The kernel says it. It lists no address of this host, so that no program on it gets a machine's image either.
#[derive(Debug)]
pub(super) struct Kernel;

impl Neighbours for Kernel {
    fn find(&self, interface: &str, peer: Ipv4Addr) -> io::Result<Option<MacAddress>> {
        find(interface, peer)
    }
}

/// The MAC address that `peer` has on `interface`; none: it is no neighbour there.
fn find(interface: &str, peer: Ipv4Addr) -> io::Result<Option<MacAddress>> {
    Ok(parse(&std::fs::read_to_string(TABLE)?, interface, peer))
}

/// Columns: IP address, type, flags, MAC address, mask, interface.
fn parse(table: &str, interface: &str, peer: Ipv4Addr) -> Option<MacAddress> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [address, _kind, flags, mac, _mask, device] = columns[..] else { return None };
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
        let is_it = device == interface && address.parse() == Ok(peer) && flags & COMPLETE != 0;
        is_it.then(|| mac.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_on_the_one_interface() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.0.5         0x1         0x2         52:54:00:00:00:01     *        eth0\n\
                     10.0.0.6         0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                     10.0.0.7         0x1         0x2         52:54:00:00:00:02     *        eth1\n\
                     garbage\n";
        let find = |last| parse(table, "eth0", Ipv4Addr::new(10, 0, 0, last)).map(|mac| mac.to_string());
        assert_eq!(find(5).as_deref(), Some("52:54:00:00:00:01"));
        assert_eq!(find(6), None, "the kernel has not learned it");
        assert_eq!(find(7), None, "on another interface");
        assert_eq!(find(8), None);
    }

    #[test]
    fn the_kernels_own_table_is_read() {
        assert_eq!(find("no-such-interface", Ipv4Addr::LOCALHOST).expect("read"), None);
    }
}
