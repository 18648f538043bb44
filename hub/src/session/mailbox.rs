//! What others want of a running session, and the one bell that wakes it. Kept small: there is one per connected device.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::event::Dismissal;
use crate::tunnel::OperatorEnd;

/// Wishes that wait at most; a session takes them at once, so more means that it hangs.
const MAX_WISHES: usize = 64;

/// What somebody wants.
#[derive(Debug)]
pub enum Wish {
    /// Look again what is assigned to the device.
    LookAgain,
    /// A tunnel, for this operator.
    Open {
        /// The operator, for the device's log.
        who: String,
        /// Where the answer goes: the tunnel's end, which is not open yet, or why there is none.
        answer: oneshot::Sender<Result<OperatorEnd, String>>,
    },
    /// The session is to end.
    Dismiss(Dismissal),
}

/// The wishes of one session.
#[derive(Debug, Default)]
pub struct Mailbox {
    wishes: Mutex<Vec<Wish>>,
    bell: Arc<Notify>,
}

impl Mailbox {
    /// Adds a wish. One too many is dropped, which its sender notices by the answer that never comes; an end is always taken.
    pub fn put(&self, wish: Wish) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.len() < MAX_WISHES || matches!(wish, Wish::Dismiss(_)) {
            wishes.push(wish);
        }
        drop(wishes);
        self.bell.notify_one();
    }

    /// Takes all of them.
    pub fn take(&self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What rings when there is something to do.
    pub fn bell(&self) -> &Arc<Notify> {
        &self.bell
    }
}
