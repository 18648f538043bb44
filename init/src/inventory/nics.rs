//! Network links, from /sys/class/net, with their addresses from the routing socket.

use std::collections::BTreeMap;
use std::path::Path;

use api::v1::Nic;
use machine_config::types::MacAddress;

use super::source::{Roots, names, number, text};
use crate::network::{LinkKind, Netlink};

/// Links with a device behind them: what a person would call a network card.
pub(super) fn ports(roots: &Roots) -> Vec<Nic> {
    let net = roots.sys_path("class/net");
    let mut nics = links(roots);
    nics.retain(|nic| net.join(&nic.name).join("device").exists());
    nics
}

/// All links.
pub(super) fn links(roots: &Roots) -> Vec<Nic> {
    let addresses = addresses(&roots.sys_path(""));
    let net = roots.sys_path("class/net");
    names(&net).into_iter().map(|name| nic(&net.join(&name), name, &addresses)).collect()
}

/// The MAC addresses of wired links.
pub(super) fn wired_macs(roots: &Roots) -> Vec<MacAddress> {
    let wired =
        names(&roots.sys_path("class/net")).into_iter().filter(|name| LinkKind::of(&roots.sys_path(""), name) == LinkKind::Wired);
    wired.filter_map(|name| roots.sys(&format!("class/net/{name}/address")).parse().ok()).collect()
}

fn nic(folder: &Path, name: String, addresses: &BTreeMap<String, Vec<String>>) -> Nic {
    let driver = std::fs::read_link(folder.join("device/driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Nic {
        mac: text(&folder.join("address")),
        driver: driver.unwrap_or_default(),
        // Reading `carrier` of a link that is down is an error; such a link has none.
        carrier: number(&folder.join("carrier")) == 1,
        mtu: u32::try_from(number(&folder.join("mtu"))).unwrap_or(0),
        rx_bytes: number(&folder.join("statistics/rx_bytes")),
        tx_bytes: number(&folder.join("statistics/tx_bytes")),
        addresses: addresses.get(&name).cloned().unwrap_or_default(),
        state: text(&folder.join("operstate")),
        name,
    }
}

/// Addresses by link name; none at all when the kernel does not answer.
fn addresses(sys: &Path) -> BTreeMap<String, Vec<String>> {
    let Ok(observed) = Netlink::new(sys).observe() else { return BTreeMap::new() };
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for link in &observed.links {
        let own = observed.addresses.iter().filter(|address| address.link == link.index);
        addresses.insert(link.name.clone(), own.map(|address| address.net.to_string()).collect());
    }
    addresses
}
