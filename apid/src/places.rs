//! Places for connections: how many are served at once, in all and from one neighbour, so that no single machine takes them all.
//!
//! It counts; who is let in at all is decided by TLS and the method table.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    taken: Taken,
    per_neighbour: usize,
}

type Taken = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    neighbour: IpAddr,
    taken: Taken,
    _one: OwnedSemaphorePermit,
}

impl Places {
    /// So many in all, and so many of them from one neighbour.
    pub fn new(all: usize, per_neighbour: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), taken: Taken::default(), per_neighbour }
    }

    /// Waits until some place is free.
    pub async fn wait(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place at once; none: all are taken, or the caller's neighbourhood has enough of them.
    pub fn try_take(&self, caller: IpAddr) -> Option<Place> {
        self.give(Arc::clone(&self.free).try_acquire_owned().ok()?, caller)
    }

    /// Gives a place that was waited for to a caller; none: its neighbourhood has enough of them.
    pub fn give(&self, one: OwnedSemaphorePermit, caller: IpAddr) -> Option<Place> {
        let neighbour = neighbour(caller);
        let mut taken = lock(&self.taken);
        let count = taken.entry(neighbour).or_default();
        if *count >= self.per_neighbour {
            return None;
        }
        *count += 1;
        Some(Place { neighbour, taken: Arc::clone(&self.taken), _one: one })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.neighbour) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.neighbour);
            }
        }
    }
}

/// A machine may call from any address of its /64, so that counts as one; so does an IPv4 address in either writing.
fn neighbour(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

fn lock(taken: &Taken) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
    // Nothing that could panic happens under it.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call(places: &Places, from: &str) -> Option<Place> {
        places.give(places.wait().await, from.parse().expect("an address"))
    }

    #[tokio::test]
    async fn one_machine_cannot_take_every_place() {
        let places = Places::new(4, 2);
        let first = call(&places, "192.0.2.1").await.expect("free");
        let _second = call(&places, "::ffff:192.0.2.1").await.expect("free");
        assert!(call(&places, "192.0.2.1").await.is_none(), "a third from the same machine");
        let _third = call(&places, "2001:db8::1").await.expect("another machine");
        let _fourth = call(&places, "2001:db8::2").await.expect("its second");
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), places.wait()).await.is_err(), "all are taken");
        assert!(places.try_take("192.0.2.9".parse().expect("an address")).is_none(), "who does not wait gets none either");
        drop(first);
        assert!(call(&places, "2001:db8::ffff:1").await.is_none(), "the same /64");
        assert!(call(&places, "192.0.2.1").await.is_some(), "its place was given back");
    }
}
