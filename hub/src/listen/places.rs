//! Places for connections: how many there are in all and from one neighbour, so that nobody takes them all. It counts and refuses; nothing waits.

use std::collections::HashMap;
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

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    all: usize,
    of_one: usize,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    neighbour: IpAddr,
}

impl Places {
    /// So many in all, so many of them for one neighbour.
    pub(super) fn new(all: usize, of_one: usize) -> Self {
        Self { taken: Arc::default(), all, of_one }
    }

    /// Takes one.
    pub(super) fn take(&self, caller: IpAddr) -> Result<Place, NoPlace> {
        let neighbour = neighbour(caller);
        let mut taken = lock(&self.taken);
        if taken.all >= self.all {
            return Err(NoPlace::Full);
        }
        let share = taken.of.entry(neighbour).or_default();
        if *share >= self.of_one {
            return Err(NoPlace::Crowded);
        }
        *share += 1;
        taken.all += 1;
        Ok(Place { taken: Arc::clone(&self.taken), neighbour })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(share) = taken.of.get_mut(&self.neighbour) {
            *share -= 1;
            if *share == 0 {
                taken.of.remove(&self.neighbour);
            }
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

    #[test]
    fn ten_thousand_calls_from_one_address_leave_room_for_others() {
        let places = Places::new(100, 10);
        let caller = |text: &str| text.parse::<IpAddr>().unwrap();
        let held: Vec<_> = (0..10_000).filter_map(|_| places.take(caller("192.0.2.1")).ok()).collect();
        assert_eq!(held.len(), 10);
        assert_eq!(places.take(caller("::ffff:192.0.2.1")).unwrap_err(), NoPlace::Crowded, "the same in IPv6 writing");
        let _one = places.take(caller("2001:db8::1")).unwrap();
        let others: Vec<_> = (0..20).filter_map(|n| places.take(caller(&format!("2001:db8::ffff:{n}"))).ok()).collect();
        assert_eq!(others.len(), 9, "one /64 is one neighbour");
        drop(held);
        assert!(places.take(caller("192.0.2.1")).is_ok());
        let full = Places::new(1, 1);
        let _only = full.take(caller("192.0.2.1")).unwrap();
        assert_eq!(full.take(caller("192.0.2.2")).unwrap_err(), NoPlace::Full);
    }
}
