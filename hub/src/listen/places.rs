//! Places for connections: how many there are in all, from one neighbour and from one site, so that nobody takes them all. It counts and refuses;
//! nothing waits. The last ones are for neighbours that have none, so that a few addresses together do not keep everybody else out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    /// All are taken.
    #[error("all places are taken")]
    Full,
    /// This neighbour has its share.
    #[error("this address has its share of places")]
    Crowded,
}

/// The first 48 bits of an IPv6 address: what one customer has at most.
type Site = [u16; 3];

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    all: usize,
    of_one: usize,
    of_site: usize,
    /// The last ones, for neighbours that have none.
    kept: usize,
}

impl Shares {
    /// So many, for anybody.
    pub(super) fn of_anybody(all: usize) -> Self {
        Self { all, of_one: all, of_site: all, kept: 0 }
    }

    /// So many, so many of them for one neighbour, and twice as many for one site. Unless one may have them all, a quarter is kept back.
    pub(super) fn of_each(all: usize, of_one: usize) -> Self {
        Self { all, of_one, of_site: of_one.saturating_mul(2), kept: if of_one < all { all / 4 } else { 0 } }
    }
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
    of_site: HashMap<Site, usize>,
}

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    shares: Shares,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    neighbour: IpAddr,
    site: Option<Site>,
}

impl Places {
    /// So many.
    pub(super) fn new(shares: Shares) -> Self {
        Self { taken: Arc::default(), shares }
    }

    /// Takes one.
    pub(super) fn take(&self, caller: IpAddr) -> Result<Place, NoPlace> {
        let (neighbour, Shares { all, of_one, of_site, kept }) = (neighbour(caller), self.shares);
        let site = site(neighbour);
        let mut taken = lock(&self.taken);
        if taken.all >= all {
            return Err(NoPlace::Full);
        }
        let one = taken.of.get(&neighbour).copied().unwrap_or(0);
        let its_site = site.and_then(|site| taken.of_site.get(&site).copied()).unwrap_or(0);
        let is_kept = taken.all + kept >= all;
        if one >= of_one || its_site >= of_site || (is_kept && (one > 0 || its_site > 0)) {
            return Err(NoPlace::Crowded);
        }
        taken.of.insert(neighbour, one + 1);
        if let Some(site) = site {
            taken.of_site.insert(site, its_site + 1);
        }
        taken.all += 1;
        Ok(Place { taken: Arc::clone(&self.taken), neighbour, site })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        give_back(&mut taken.of, &self.neighbour);
        if let Some(site) = &self.site {
            give_back(&mut taken.of_site, site);
        }
    }
}

fn give_back<K: Hash + Eq>(shares: &mut HashMap<K, usize>, whose: &K) {
    if let Some(share) = shares.get_mut(whose) {
        *share -= 1;
        if *share == 0 {
            shares.remove(whose);
        }
    }
}

/// The site of a neighbour; IPv4 has none that could be told.
fn site(neighbour: IpAddr) -> Option<Site> {
    match neighbour {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some([a, b, c])
        }
    }
}

/// Whom an address belongs to, as far as anyone can tell: a machine may call from any address of its /64, and an IPv4 address is the same
/// in either writing.
pub(crate) fn neighbour(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Nothing that could panic happens under it.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_site_with_many_networks_has_its_share_and_no_more() {
        let places = Places::new(Shares::of_each(1000, 10));
        let held: Vec<_> = (0..0x100).filter_map(|n| places.take(caller(&format!("2001:db8:0:{n:x}::1"))).ok()).collect();
        assert_eq!(held.len(), 20);
        assert!(places.take(caller("2001:db8:1::1")).is_ok(), "another site is served");
        drop(held);
        assert!(places.take(caller("2001:db8::1")).is_ok());
        let taken = lock(&places.taken);
        assert_eq!((taken.all, taken.of.len(), taken.of_site.len()), (0, 0, 0), "nothing is remembered of who is gone");
    }

    #[test]
    fn a_few_addresses_together_leave_places_for_those_that_have_none() {
        let places = Places::new(Shares::of_each(100, 20));
        let mut held = Vec::new();
        for n in 0..20 {
            for _ in 0..30 {
                held.extend(places.take(caller(&format!("192.0.2.{}", n % 9))));
                held.extend(places.take(caller(&format!("2001:db8:0:{n}::1"))));
            }
        }
        assert_eq!(held.len(), 75 + 7, "of the kept ones each new address got one");
        for n in 0..18 {
            held.push(places.take(caller(&format!("198.51.100.{n}"))).unwrap());
        }
        assert_eq!(places.take(caller("198.51.100.99")).unwrap_err(), NoPlace::Full);
        let everybody_is_one = Places::new(Shares::of_each(50, 50));
        let held: Vec<_> = (0..60).filter_map(|_| everybody_is_one.take(caller("192.0.2.1")).ok()).collect();
        assert_eq!(held.len(), 50, "behind a load balancer all are one address");
    }

    #[test]
    fn ten_thousand_calls_from_one_address_leave_room_for_others() {
        let places = Places::new(Shares::of_each(100, 10));
        let held: Vec<_> = (0..10_000).filter_map(|_| places.take(caller("192.0.2.1")).ok()).collect();
        assert_eq!(held.len(), 10);
        assert_eq!(places.take(caller("::ffff:192.0.2.1")).unwrap_err(), NoPlace::Crowded, "the same in IPv6 writing");
        let _one = places.take(caller("2001:db8::1")).unwrap();
        let others: Vec<_> = (0..20).filter_map(|n| places.take(caller(&format!("2001:db8::ffff:{n}"))).ok()).collect();
        assert_eq!(others.len(), 9, "one /64 is one neighbour");
        drop(held);
        assert!(places.take(caller("192.0.2.1")).is_ok());
        let full = Places::new(Shares::of_each(1, 1));
        let _only = full.take(caller("192.0.2.1")).unwrap();
        assert_eq!(full.take(caller("192.0.2.2")).unwrap_err(), NoPlace::Full);
    }
}
