//! The two directions of a tunnel's credit: bytes from the hub that wait to be written, and bytes that may be sent to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Violation;

const WINDOW: u32 = api::hub::TUNNEL_WINDOW_BYTES;
/// Credit that a hub may pile up; more cannot be meant.
const MAX_CREDIT: u32 = 16 * WINDOW;

/// Bytes from the hub. Clones share them. What waits and what is being written is never more than the window.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbox(Arc<Shared<Waiting>>);

/// Bytes that may be sent to the hub. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Credit(Arc<Shared<u32>>);

#[derive(Debug, Default)]
struct Shared<T> {
    state: Mutex<T>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Received and not yet given back as credit.
    owed: u32,
    closed: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing that could panic happens under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` sees what it waits for.
    async fn wait<R>(&self, look: impl Fn(&mut T) -> Option<R>) -> R {
        loop {
            let news = self.news.notified();
            if let Some(seen) = look(&mut self.lock()) {
                return seen;
            }
            news.await;
        }
    }
}

impl Inbox {
    /// Adds what the hub sent.
    pub(super) fn push(&self, bytes: &[u8]) -> Result<(), Violation> {
        let mut waiting = self.0.lock();
        let length = u32::try_from(bytes.len()).map_err(|_| Violation::Credit)?;
        waiting.owed = waiting.owed.checked_add(length).filter(|owed| *owed <= WINDOW).ok_or(Violation::Credit)?;
        waiting.bytes.extend_from_slice(bytes);
        drop(waiting);
        self.0.news.notify_waiters();
        Ok(())
    }

    /// No more will come.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        self.0.news.notify_waiters();
    }

    /// Waits until no more will come.
    pub(super) async fn closed(&self) {
        self.0.wait(|waiting| waiting.closed.then_some(())).await;
    }

    /// Whether the hub has closed the tunnel.
    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Waits for bytes and takes all; none: closed.
    pub(super) async fn take(&self) -> Option<Vec<u8>> {
        self.0
            .wait(|waiting| match waiting.bytes.is_empty() {
                false => Some(Some(std::mem::take(&mut waiting.bytes))),
                true => waiting.closed.then_some(None),
            })
            .await
    }

    /// Bytes of credit to give back after so many were written: in halves of the window, so that a quiet tunnel says little.
    pub(super) fn written(&self, unreturned: &mut u32, length: usize) -> Option<u32> {
        *unreturned += u32::try_from(length).unwrap_or(WINDOW);
        if *unreturned < WINDOW / 2 {
            return None;
        }
        let returned = std::mem::take(unreturned);
        let mut waiting = self.0.lock();
        waiting.owed = waiting.owed.saturating_sub(returned);
        Some(returned)
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::new(WINDOW), news: Notify::new() }))
    }
}

impl Credit {
    /// Adds what the hub gives.
    pub(super) fn give(&self, bytes: u32) -> Result<(), Violation> {
        let mut left = self.0.lock();
        *left = left.checked_add(bytes).filter(|left| *left <= MAX_CREDIT).ok_or(Violation::Window)?;
        drop(left);
        self.0.news.notify_waiters();
        Ok(())
    }

    /// Waits until something may be sent; how much, a piece at most.
    pub(super) async fn some(&self) -> usize {
        self.0.wait(|left| (*left > 0).then_some((*left as usize).min(api::hub::TUNNEL_PIECE_BYTES))).await
    }

    /// So much is sent; no more than [`Credit::some`] said.
    pub(super) fn spend(&self, bytes: usize) {
        let mut left = self.0.lock();
        *left = left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn bytes_beyond_the_window_are_a_violation_until_it_is_given_back() {
        let inbox = Inbox::default();
        for _ in 0..4 {
            inbox.push(&[7; 16 << 10]).expect("within the window");
        }
        assert_eq!(inbox.push(&[7]), Err(Violation::Credit));
        let bytes = inbox.take().await.expect("open");
        assert_eq!(bytes.len(), 64 << 10);
        assert_eq!(inbox.push(&[7]), Err(Violation::Credit), "taken is not written");
        assert_eq!(inbox.written(&mut 0, bytes.len()), Some(64 << 10));
        inbox.push(&[7]).expect("given back");
        inbox.close();
        assert_eq!((inbox.take().await, inbox.take().await), (Some(vec![7]), None), "what came before the end is not lost");
    }

    #[tokio::test]
    async fn credit_is_spent_and_given_within_bounds() {
        let credit = Credit::default();
        assert_eq!(credit.some().await, api::hub::TUNNEL_PIECE_BYTES);
        credit.spend(WINDOW as usize);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(10), credit.some());
        assert!(waits.await.is_err(), "nothing is left");
        credit.give(5).expect("small");
        assert_eq!(credit.some().await, 5);
        assert_eq!(credit.give(u32::MAX), Err(Violation::Window));
        assert_eq!(credit.give(MAX_CREDIT), Err(Violation::Window));
    }

    proptest! {
        #[test]
        fn a_hub_that_keeps_to_its_credit_is_never_wronged(pieces in prop::collection::vec(1_usize..=16 << 10, 1..200)) {
            let (inbox, mut unreturned, mut credit) = (Inbox::default(), 0, WINDOW as usize);
            for piece in pieces {
                if piece <= credit {
                    prop_assert!(inbox.push(&vec![0; piece]).is_ok());
                    credit -= piece;
                } else {
                    let length = std::mem::take(&mut inbox.0.lock().bytes).len();
                    credit += inbox.written(&mut unreturned, length).unwrap_or(0) as usize;
                    prop_assert!(credit >= WINDOW as usize / 2, "it would wait for ever");
                }
            }
        }
    }
}
