//! Golden plans: one line per link.

use machine_config::schema::{ApiVersion, Kind, Metadata, Network, Route as ConfigRoute, Target};

use super::*;

fn link(index: u32, name: &str, kind: LinkKind) -> LinkFacts {
    let mac = Some([0x52, 0x54, 0, 0, 0, u8::try_from(index).expect("a small number")]);
    LinkFacts { index, name: name.into(), mac, kind, up: false, carrier: false, mtu: 1500 }
}

fn machine() -> Vec<LinkFacts> {
    vec![
        link(1, "lo", LinkKind::Loopback),
        link(2, "eth0", LinkKind::Wired),
        link(3, "eth1", LinkKind::Wired),
        link(4, "wlan0", LinkKind::Other),
        LinkFacts { mac: Some([0x52, 0x54, 0, 0, 0, 3]), ..link(5, "br0", LinkKind::Other) },
    ]
}

pub(crate) fn config(interfaces: Vec<Interface>) -> MachineConfig {
    MachineConfig {
        api_version: ApiVersion::V1Alpha1,
        kind: Kind::MachineConfig,
        metadata: Metadata {
            name: "store".parse().expect("valid"),
            fleet: "acme".parse().expect("valid"),
            generation: 1.try_into().expect("valid"),
            labels: Default::default(),
        },
        target: Target::default(),
        machine: machine_config::schema::Machine { network: Network { interfaces, ..Network::default() }, ..Default::default() },
        api: Default::default(),
        hub: None,
        k3s: None,
    }
}

fn planned(interfaces: Vec<Interface>) -> String {
    plan(&machine(), Some(&config(interfaces))).to_string()
}

fn named(name: &str) -> Interface {
    Interface { name: Some(name.parse().expect("valid")), ..Interface::default() }
}

#[test]
fn without_a_configuration_every_wired_link_asks_dhcp() {
    let golden = "lo up\neth0 up dhcp4 metric 1026\neth1 up dhcp4 metric 1027\n";
    assert_eq!(plan(&machine(), None).to_string(), golden);
    assert_eq!(planned(vec![]), golden);
}

#[test]
fn a_static_link() {
    let interface = Interface {
        addresses: vec!["10.0.2.15/24".parse().expect("valid"), "2001:db8::5/64".parse().expect("valid")],
        routes: vec![
            ConfigRoute { to: "0.0.0.0/0".parse().expect("valid"), via: "10.0.2.2".parse().expect("valid"), metric: None },
            ConfigRoute {
                to: "192.168.9.7/16".parse().expect("valid"),
                via: "10.0.2.3".parse().expect("valid"),
                metric: Some(5),
            },
            ConfigRoute { to: "::/0".parse().expect("valid"), via: "2001:db8::1".parse().expect("valid"), metric: None },
        ],
        mtu: Some(1400),
        ..named("eth0")
    };
    assert_eq!(
        planned(vec![interface]),
        "lo up\neth0 up mtu 1400 address 10.0.2.15/24 address 2001:db8::5/64 route 0.0.0.0/0 via 10.0.2.2 metric 0 \
         route 192.168.0.0/16 via 10.0.2.3 metric 5 route ::/0 via 2001:db8::1 metric 1024\n"
    );
}

#[test]
fn a_mac_means_the_port_and_never_the_bridge_that_borrowed_it() {
    let interface = Interface { mac: Some("52:54:00:00:00:03".parse().expect("valid")), dhcp4: true, ..Interface::default() };
    assert_eq!(planned(vec![interface]), "lo up\neth1 up dhcp4 metric 1027\n");
}

#[test]
fn an_ignored_link_gets_nothing_and_goes_down() {
    let interface = Interface { ignore: true, dhcp4: true, mtu: Some(9000), ..named("eth1") };
    assert_eq!(planned(vec![interface, named("eth0")]), "lo up\neth0 up\neth1 down\n");
}

#[test]
fn a_link_named_outright_may_be_of_any_sort() {
    assert_eq!(planned(vec![Interface { dhcp4: true, ..named("br0") }]), "lo up\nbr0 up dhcp4 metric 1029\n");
}

#[test]
fn a_link_that_is_not_there_yet_is_missing() {
    let by_mac = Interface { mac: Some("aa:aa:aa:aa:aa:aa".parse().expect("valid")), ..Interface::default() };
    assert_eq!(planned(vec![named("eth7"), by_mac]), "lo up\neth7 missing\naa:aa:aa:aa:aa:aa missing\n");
}

#[test]
fn two_entries_for_one_link_are_not_mixed() {
    let by_mac = Interface { mac: Some("52:54:00:00:00:02".parse().expect("valid")), dhcp4: true, ..Interface::default() };
    assert_eq!(planned(vec![named("eth0"), by_mac]), "lo up\neth0 up\n52:54:00:00:00:02 missing\n");
}
