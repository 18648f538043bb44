//! Asks a run to end before it is done. Drives end between two blocks, never within one, and what they were given cannot be taken for a good image
//! then. Knows nothing of signals: who asks, and why, is the caller's business.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outcome::{Failure, Reason};

/// How much of a hurry there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hurry {
    /// None: the run goes on.
    No,
    /// Each drive ends at its next block.
    NextBlock,
    /// Drives that have not ended yet are given up.
    Now,
}

/// What hears of it.
type Listener = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Inner {
    asked: AtomicU8,
    listener: Mutex<Option<Listener>>,
}

/// One run's request to end; the same for all who hold a copy.
#[derive(Clone, Default)]
pub struct Stop(Arc<Inner>);

impl Stop {
    /// Asks the run to end, the second time at once.
    pub fn ask(&self) {
        self.0.asked.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |asked| Some(asked.saturating_add(1))).ok(); // it always gives a number
        if let Some(listener) = &*self.listener() {
            listener();
        }
    }

    /// How urgent it is.
    pub fn hurry(&self) -> Hurry {
        match self.0.asked.load(Ordering::SeqCst) {
            0 => Hurry::No,
            1 => Hurry::NextBlock,
            _ => Hurry::Now,
        }
    }

    /// An error as soon as the run is to end.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.hurry() {
            Hurry::No => Ok(()),
            Hurry::NextBlock | Hurry::Now => Err(Failure::new(
                Reason::Interrupted,
                "the run was stopped before this drive was proved; nothing boots from it; flash it again",
            )),
        }
    }

    /// Has `listener` called each time somebody asks; nobody else's is called any more.
    pub(super) fn listen(&self, listener: Listener) {
        *self.listener() = Some(listener);
    }

    fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.0.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.hurry()).finish()
    }
}

/// Why a drive fails that nothing was written to yet.
pub(super) fn untouched() -> Failure {
    Failure::new(Reason::Interrupted, "the run was stopped before anything was written to this drive")
}

/// Why a drive fails that did not end when it was asked to.
pub(super) fn given_up() -> Failure {
    Failure::new(
        Reason::Interrupted,
        "the run was given up before this drive answered; it may hold anything and even boot; flash it again before it is used",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_twice_is_in_a_hurry_and_is_heard_each_time() {
        let (stop, heard) = (Stop::default(), Arc::new(AtomicU8::new(0)));
        let ear = Arc::clone(&heard);
        stop.listen(Box::new(move || {
            ear.fetch_add(1, Ordering::SeqCst);
        }));
        stop.check().expect("nobody asked");
        let hurries: Vec<Hurry> = (0..3)
            .map(|_| {
                stop.clone().ask();
                stop.hurry()
            })
            .collect();
        assert_eq!(hurries, [Hurry::NextBlock, Hurry::Now, Hurry::Now]);
        assert_eq!(heard.load(Ordering::SeqCst), 3);
        assert_eq!(stop.check().expect_err("asked").reason, Reason::Interrupted);
    }
}
