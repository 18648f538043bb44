//! A kernel of sets: changes are carried out on `Observed`, and it must come to rest where `Desired` wants it.

use proptest::prelude::*;

use super::super::dhcp::ClasslessRoute;
use super::super::facts::LinkKind;
use super::super::plan::plan;
use super::*;

fn link(index: u32) -> LinkFacts {
    let (name, mac) = (format!("eth{}", index - 2), Some([2, 0, 0, 0, 0, 1]));
    LinkFacts { index, name, mac, kind: LinkKind::Wired, up: false, carrier: true, mtu: 1500 }
}

pub(in crate::network) fn lease(address: &str, via: [u8; 4]) -> Lease {
    Lease {
        address: address.parse().expect("valid"),
        server: [10, 0, 2, 2].into(),
        routes: vec![ClasslessRoute { to: Default::default(), via: via.into() }],
        nameservers: vec![],
        search: vec![],
        mtu: Some(1400),
        lifetime: None,
        renew_after: None,
        rebind_after: None,
    }
}

fn carry_out(observed: &mut Observed, change: &Change) {
    let mut edit =
        |index: u32, edit: &dyn Fn(&mut LinkFacts)| observed.links.iter_mut().filter(|l| l.index == index).for_each(edit);
    match change {
        Change::Mtu { link, mtu } => edit(*link, &|l| l.mtu = *mtu),
        Change::Admin { link, admin } => edit(*link, &|l| l.up = *admin == Admin::Up),
        Change::RemoveRoute(route) => assert!(observed.routes.remove(route)),
        Change::RemoveAddress(address) => assert!(observed.addresses.remove(address)),
        Change::AddAddress(address) => assert!(observed.addresses.insert(*address)),
        Change::AddRoute(route) => assert!(observed.routes.insert(*route)),
    }
}

/// Carries out what must be until nothing is left, and returns it as text.
fn settle(desired: &Desired, observed: &mut Observed, owned: &mut Owned) -> Vec<String> {
    owned.refresh(desired, observed);
    let changes = reconcile(desired, observed, owned);
    changes.iter().for_each(|change| carry_out(observed, change));
    owned.refresh(desired, observed);
    assert_eq!(reconcile(desired, observed, owned), [], "it does not come to rest");
    changes.iter().map(|change| format!("{}: {change}", change.link())).collect()
}

#[test]
fn a_lease_comes_changes_and_goes() {
    let mut observed = Observed { links: vec![link(2)], ..Observed::default() };
    let mut owned = Owned::default();
    let plan = plan(&observed.links, None);
    let mut leases = BTreeMap::new();
    assert_eq!(settle(&Desired::new(&plan, &leases), &mut observed, &mut owned), ["2: bring the link up"]);

    leases.insert(2, lease("10.0.2.15/24", [10, 0, 2, 2]));
    assert_eq!(
        settle(&Desired::new(&plan, &leases), &mut observed, &mut owned),
        ["2: set mtu 1400", "2: add address 10.0.2.15/24", "2: add route 0.0.0.0/0 via 10.0.2.2 from 10.0.2.15 metric 1026"]
    );
    leases.insert(2, lease("10.0.2.16/24", [10, 0, 2, 2]));
    assert_eq!(
        settle(&Desired::new(&plan, &leases), &mut observed, &mut owned),
        [
            "2: remove route 0.0.0.0/0 via 10.0.2.2 from 10.0.2.15 metric 1026",
            "2: remove address 10.0.2.15/24",
            "2: add address 10.0.2.16/24",
            "2: add route 0.0.0.0/0 via 10.0.2.2 from 10.0.2.16 metric 1026"
        ]
    );
    leases.clear();
    settle(&Desired::new(&plan, &leases), &mut observed, &mut owned);
    assert_eq!((observed.addresses.len(), observed.routes.len(), observed.links[0].mtu), (0, 0, 1500), "as before");
}

#[test]
fn gateways_outside_the_lease_are_taken_at_their_word() {
    let mut observed = Observed { links: vec![link(2)], ..Observed::default() };
    let plan = plan(&observed.links, None);
    let mut lease = lease("10.0.0.5/32", [169, 254, 1, 1]);
    lease.routes.insert(1, ClasslessRoute { to: "169.254.1.1/32".parse().expect("valid"), via: [0, 0, 0, 0].into() });
    let changes = settle(&Desired::new(&plan, &BTreeMap::from([(2, lease)])), &mut observed, &mut Owned::default());
    assert_eq!(
        changes[3..],
        [
            "2: add route 169.254.1.1/32 from 10.0.0.5 metric 1026",
            "2: add route 0.0.0.0/0 via 169.254.1.1 onlink from 10.0.0.5 metric 1026"
        ],
        "the route to the gateway first"
    );
}

#[test]
fn what_others_set_is_left_alone() {
    let foreign = LinkAddress { link: 2, net: "192.168.5.5/24".parse().expect("valid") };
    let route = Route::over(2, "10.42.1.0/24".parse().expect("valid"), Some([192, 168, 5, 9].into()), None);
    let mut observed = Observed { links: vec![link(2)], addresses: [foreign].into(), routes: [route].into() };
    let mut owned = Owned::default();
    let plan = plan(&observed.links, None);
    settle(&Desired::new(&plan, &BTreeMap::from([(2, lease("10.0.2.15/24", [10, 0, 2, 2]))])), &mut observed, &mut owned);
    settle(&Desired::default(), &mut observed, &mut owned);
    assert_eq!((observed.addresses, observed.routes), ([foreign].into(), [route].into()));
}

#[test]
fn an_address_taken_away_by_somebody_else_comes_back() {
    let mut observed = Observed { links: vec![link(2)], ..Observed::default() };
    let mut owned = Owned::default();
    let plan = plan(&observed.links, None);
    let desired = Desired::new(&plan, &BTreeMap::from([(2, lease("10.0.2.15/24", [10, 0, 2, 2]))]));
    settle(&desired, &mut observed, &mut owned);
    observed.addresses.clear();
    observed.routes.clear();
    assert_eq!(settle(&desired, &mut observed, &mut owned).len(), 2);
}

#[test]
fn people_see_addresses_of_ports_only() {
    let other = LinkFacts { name: "cni0".into(), kind: LinkKind::Other, ..link(7) };
    let address = |link: u32, net: &str| LinkAddress { link, net: net.parse().expect("valid") };
    let addresses =
        [address(2, "fe80::1/64"), address(2, "10.0.2.15/24"), address(2, "2001:db8::5/64"), address(7, "10.42.0.1/24")];
    let observed = Observed { links: vec![link(2), other], addresses: addresses.into(), routes: BTreeSet::new() };
    let lines = address_lines(&observed, &plan(&observed.links, None));
    assert_eq!(lines, ["eth0 10.0.2.15/24", "eth0 2001:db8::5/64"]);
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let admin = prop_oneof![Just(Admin::Up), Just(Admin::Down)];
    let link = (admin, proptest::option::of(1400..1403_u32));
    let address =
        (2..5_u32, 0..4_u8).prop_map(|(link, n)| LinkAddress { link, net: format!("10.0.{n}.1/24").parse().expect("valid") });
    let route = (2..5_u32, 0..3_u8, 0..2_u32)
        .prop_map(|(link, n, metric)| Route::over(link, format!("10.1.{n}.0/24").parse().expect("valid"), None, Some(metric)));
    let sets = (proptest::collection::btree_set(address, 0..6), proptest::collection::btree_set(route, 0..6));
    (proptest::collection::btree_map(2..5_u32, link, 0..3), sets).prop_map(|(links, (mut addresses, mut routes))| {
        // A planner gives addresses only to links that it brings up.
        let up = |link: u32| matches!(links.get(&link), Some((Admin::Up, _)));
        addresses.retain(|address| up(address.link));
        routes.retain(|route| up(route.link));
        Desired { links, addresses, routes }
    })
}

proptest! {
    /// Any sequence of wishes comes to rest, exactly where the last wish wants it, and leaves foreign addresses alone.
    #[test]
    fn every_wish_comes_to_rest(wishes in proptest::collection::vec(any_desired(), 1..6)) {
        let foreign = LinkAddress { link: 3, net: "172.16.0.1/16".parse().expect("valid") };
        let mut observed = Observed { links: vec![link(2), link(3), link(4)], addresses: [foreign].into(), routes: BTreeSet::new() };
        let mut owned = Owned::default();
        for desired in wishes {
            settle(&desired, &mut observed, &mut owned);
            prop_assert!(observed.addresses.remove(&foreign));
            prop_assert_eq!(&observed.addresses, &desired.addresses);
            prop_assert_eq!(&observed.routes, &desired.routes);
            for link in &observed.links {
                let mtu = desired.links.get(&link.index).and_then(|(_, mtu)| *mtu).unwrap_or(1500);
                prop_assert_eq!(link.mtu, mtu);
            }
            observed.addresses.insert(foreign);
        }
    }
}
