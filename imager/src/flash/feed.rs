//! [`Lanes`] between threads: the reader waits for room, drives wait for pieces. No decisions here.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::lanes::{Lanes, Next};
use super::source::Piece;

/// The common stream of one image.
#[derive(Debug)]
pub(super) struct Feed {
    lanes: Mutex<Lanes<Piece>>,
    changed: Condvar,
}

/// What a drive does next; waiting is over.
#[derive(Debug)]
pub(super) enum Step {
    /// Write this.
    Piece(Piece),
    /// Read the image from the piece of this number on, without help.
    OnItsOwn(usize),
    /// All pieces were handed out.
    End,
}

impl Feed {
    pub(super) fn new(drives: usize) -> Self {
        Self { lanes: Mutex::new(Lanes::new(drives)), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<Piece>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a piece to all drives that follow; waits until the fastest of them wants it.
    pub(super) fn push(&self, piece: &Piece) {
        let wait = self.changed.wait_while(self.lock(), |lanes| !lanes.has_room());
        wait.unwrap_or_else(PoisonError::into_inner).push(piece);
        self.changed.notify_all();
    }

    /// There are no more pieces, because all were read or because reading failed.
    pub(super) fn end(&self) {
        self.lock().end();
        self.changed.notify_all();
    }
}

/// One drive's end of the stream. Dropped, nothing waits for that drive any more.
#[derive(Debug)]
pub(super) struct Lane {
    feed: Arc<Feed>,
    index: usize,
}

impl Lane {
    pub(super) fn new(feed: &Arc<Feed>, index: usize) -> Self {
        Self { feed: Arc::clone(feed), index }
    }

    /// What to do next, as soon as that is known.
    pub(super) fn next(&self) -> Step {
        let mut lanes = self.feed.lock();
        loop {
            let step = match lanes.next(self.index) {
                Next::Piece(piece) => Step::Piece(piece),
                Next::OnItsOwn(from) => Step::OnItsOwn(from),
                Next::End => Step::End,
                Next::Wait => {
                    lanes = self.feed.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            self.feed.changed.notify_all();
            return step;
        }
    }
}

/// Takes a drive out of the stream from outside: for one whose thread does not answer.
pub(super) fn leave(feed: &Feed, index: usize) {
    feed.lock().leave(index);
    feed.changed.notify_all();
}

impl Drop for Lane {
    fn drop(&mut self) {
        leave(&self.feed, self.index);
    }
}
