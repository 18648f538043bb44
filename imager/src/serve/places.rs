//! How many may be served at once, in all and from one address: one machine, broken or hostile, leaves room for the others. Counts, and serves nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The places of one server.
#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    most_of_one: usize,
    taken: Arc<Mutex<HashSet<SocketAddr>>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// It has one already.
    #[error("it is being served")]
    Twice,
    /// Others at its address have all that one address may have.
    #[error("this address has as much under way as it may; ask again in a moment")]
    OfOne,
    /// All are taken.
    #[error("there is as much under way as there may be; ask again in a moment")]
    All,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    taken: Arc<Mutex<HashSet<SocketAddr>>>,
    peer: SocketAddr,
}

impl Places {
    /// `most` in all, `most_of_one` for each address.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: Arc::default() }
    }

    /// A place for whoever is at `peer`.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn take(&self, peer: SocketAddr) -> Result<Place, NoPlace> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains(&peer) {
            return Err(NoPlace::Twice);
        }
        if taken.iter().filter(|other| other.ip() == peer.ip()).count() >= self.most_of_one {
            return Err(NoPlace::OfOne);
        }
        if taken.len() >= self.most {
            return Err(NoPlace::All);
        }
        taken.insert(peer);
        Ok(Place { taken: self.taken.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_every_place() {
        let places = Places::new(3, 2);
        let at = |last, port| SocketAddr::from(([10, 0, 0, last], port));
        let first = places.take(at(1, 1)).expect("free");
        let second = places.take(at(1, 2)).expect("free");
        assert_eq!(places.take(at(1, 2)).expect_err("it has one"), NoPlace::Twice);
        assert_eq!(places.take(at(1, 3)).expect_err("enough for one"), NoPlace::OfOne);
        let third = places.take(at(2, 1)).expect("free");
        assert_eq!(places.take(at(3, 1)).expect_err("enough for all"), NoPlace::All);
        drop(second);
        assert_eq!(places.take(at(1, 2)).map(|place| place.peer), Ok(at(1, 2)));
        drop((first, third));
        assert!(places.taken.lock().expect("not poisoned").is_empty());
    }
}
