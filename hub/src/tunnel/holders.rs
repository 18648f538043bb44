//! Who has how many tunnels open at this process: so that nobody holds all of a device's, or all there are. It counts and refuses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_config::DeviceId;

/// Tunnels of one person or token to one device; the device takes eight.
const TO_ONE_DEVICE: usize = 4;
/// Tunnels of one person or token.
const OF_ONE: usize = 128;
/// Tunnels of everybody.
const OF_ALL: usize = 1024;

/// There are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Enough {
    /// To this device.
    #[error("you have {TO_ONE_DEVICE} to this device already; close one")]
    ToDevice,
    /// To devices in all.
    #[error("you have {OF_ONE} already; close some")]
    OfOne,
    /// Everybody's.
    #[error("this hub carries {OF_ALL} already; try again later")]
    OfAll,
}

/// Whose, to which device.
type Pair = (String, DeviceId);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<String, usize>,
    pairs: HashMap<Pair, usize>,
}

/// The counts. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders(Arc<Mutex<Open>>);

/// One tunnel that counts; dropping it takes it from the counts.
#[derive(Debug)]
pub(super) struct Held {
    open: Arc<Mutex<Open>>,
    pair: Pair,
}

impl Holders {
    /// Counts one more, unless there are enough.
    pub(super) fn hold(&self, who: &str, device: &DeviceId) -> Result<Held, Enough> {
        let pair = (who.to_owned(), device.clone());
        let mut open = lock(&self.0);
        let (of, to) = (open.of.get(who).copied().unwrap_or(0), open.pairs.get(&pair).copied().unwrap_or(0));
        if to >= TO_ONE_DEVICE {
            return Err(Enough::ToDevice);
        }
        if of >= OF_ONE {
            return Err(Enough::OfOne);
        }
        if open.all >= OF_ALL {
            return Err(Enough::OfAll);
        }
        open.all += 1;
        open.of.insert(pair.0.clone(), of + 1);
        open.pairs.insert(pair.clone(), to + 1);
        Ok(Held { open: Arc::clone(&self.0), pair })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(of) = open.of.get_mut(&self.pair.0) {
            *of -= 1;
        }
        if let Some(to) = open.pairs.get_mut(&self.pair) {
            *to -= 1;
        }
        open.of.retain(|_, count| *count > 0);
        open.pairs.retain(|_, count| *count > 0);
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Nothing that could panic happens under it.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> DeviceId {
        format!("{number:064x}").parse().unwrap()
    }

    #[test]
    fn nobody_holds_all_tunnels_of_a_device_or_all_there_are() {
        let holders = Holders::default();
        let mut held: Vec<_> = (0..8).filter_map(|_| holders.hold("user:kim", &device(1)).ok()).collect();
        assert_eq!(held.len(), 4);
        assert_eq!(holders.hold("user:kim", &device(1)).unwrap_err(), Enough::ToDevice);
        held.push(holders.hold("user:lee", &device(1)).expect("others have theirs"));
        held.extend((2..200).flat_map(|number| holders.hold("user:kim", &device(number))));
        assert_eq!((held.len(), holders.hold("user:kim", &device(500)).unwrap_err()), (OF_ONE + 1, Enough::OfOne));
        for person in 0..10 {
            held.extend((0..OF_ONE).flat_map(|number| holders.hold(&format!("user:{person}"), &device(number))));
        }
        assert_eq!((held.len(), holders.hold("user:max", &device(1)).unwrap_err()), (OF_ALL, Enough::OfAll));
        drop(held);
        let open = lock(&holders.0);
        assert_eq!((open.all, open.of.len(), open.pairs.len()), (0, 0, 0), "nothing is remembered of who is gone");
    }
}
