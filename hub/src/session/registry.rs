//! Who is connected to this process: one session per device. A second call of the same device ends the first, whose connection is most
//! likely dead without knowing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine_config::DeviceId;
use tokio::sync::oneshot;

use super::event::Dismissal;
use super::mailbox::{Mailbox, Wish};
use crate::tunnel::OperatorEnd;

/// How long a session may take to answer. The device itself has less.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No session here.
    #[error("the device is not connected; look when it was seen last")]
    NotConnected,
    /// The session or the device said no.
    #[error("cannot open a connection to the device: {0}")]
    Refused(String),
    /// Nothing came back.
    #[error("the device did not answer in time; try again")]
    TimedOut,
}

#[derive(Debug)]
struct Handle {
    number: u64,
    mailbox: Arc<Mailbox>,
}

type Live = Arc<Mutex<HashMap<DeviceId, Handle>>>;

/// The sessions of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    live: Live,
    numbers: Arc<AtomicU64>,
}

/// A session's entry; dropping it takes it out, unless a later one stands there.
#[derive(Debug)]
pub struct Entry {
    live: Live,
    device: DeviceId,
    number: u64,
}

impl Entry {
    /// Names the session within this process.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut live = lock(&self.live);
        if live.get(&self.device).is_some_and(|handle| handle.number == self.number) {
            live.remove(&self.device);
        }
    }
}

impl Sessions {
    /// Enters a session; an earlier one of the same device is dismissed.
    pub fn enter(&self, device: DeviceId, mailbox: Arc<Mailbox>) -> Entry {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let earlier = lock(&self.live).insert(device.clone(), Handle { number, mailbox });
        if let Some(earlier) = earlier {
            earlier.mailbox.put(Wish::Dismiss(Dismissal::Superseded));
        }
        Entry { live: Arc::clone(&self.live), device, number }
    }

    /// How many devices are connected here.
    pub fn count(&self) -> usize {
        lock(&self.live).len()
    }

    /// Whether this one is.
    pub fn has(&self, device: &DeviceId) -> bool {
        lock(&self.live).contains_key(device)
    }

    /// Tells a session that something else may be assigned to its device now. Nothing happens when it is not connected here.
    pub fn look_again(&self, device: &DeviceId) {
        self.put(device, Wish::LookAgain);
    }

    /// The devices that are connected here.
    pub fn devices(&self) -> Vec<DeviceId> {
        lock(&self.live).keys().cloned().collect()
    }

    /// The same for all of them at once.
    pub fn all_look_again(&self) {
        self.devices().iter().for_each(|device| self.look_again(device));
    }

    /// Ends this very session, if it is still the device's: it called again somewhere else.
    pub fn end(&self, device: &DeviceId, number: u64) {
        let mailbox =
            lock(&self.live).get(device).filter(|handle| handle.number == number).map(|handle| Arc::clone(&handle.mailbox));
        if let Some(mailbox) = mailbox {
            mailbox.put(Wish::Dismiss(Dismissal::Superseded));
        }
    }

    /// Ends a device's session at once. Nothing happens when it is not connected here.
    pub fn dismiss(&self, device: &DeviceId, why: Dismissal) {
        self.put(device, Wish::Dismiss(why));
    }

    /// Ends all of them: the hub stops.
    pub fn dismiss_all(&self) {
        let mailboxes: Vec<_> = lock(&self.live).values().map(|handle| Arc::clone(&handle.mailbox)).collect();
        mailboxes.iter().for_each(|mailbox| mailbox.put(Wish::Dismiss(Dismissal::Stopping)));
    }

    /// Opens a tunnel to a device that is connected here, and waits until the device has opened its side.
    pub async fn open_tunnel(&self, device: &DeviceId, who: &str) -> Result<OperatorEnd, OpenError> {
        let (answer, answered) = oneshot::channel();
        if !self.put(device, Wish::Open { who: who.to_owned(), answer }) {
            return Err(OpenError::NotConnected);
        }
        let opening = async {
            let mut end = answered.await.map_err(|_| OpenError::NotConnected)?.map_err(OpenError::Refused)?;
            end.opened().await.map_err(OpenError::Refused)?;
            Ok(end)
        };
        tokio::time::timeout(ANSWER_TIMEOUT, opening).await.unwrap_or(Err(OpenError::TimedOut))
    }

    fn put(&self, device: &DeviceId, wish: Wish) -> bool {
        let mailbox = lock(&self.live).get(device).map(|handle| Arc::clone(&handle.mailbox));
        mailbox.is_some_and(|mailbox| {
            mailbox.put(wish);
            true
        })
    }
}

fn lock(live: &Live) -> MutexGuard<'_, HashMap<DeviceId, Handle>> {
    // Nothing that could panic happens under it.
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        "ab".repeat(32).parse().unwrap()
    }

    #[test]
    fn a_second_call_of_a_device_ends_the_first_and_stays() {
        let sessions = Sessions::default();
        let (first, second) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        let one = sessions.enter(device(), Arc::clone(&first));
        let two = sessions.enter(device(), Arc::clone(&second));
        assert!(matches!(first.take().as_slice(), [Wish::Dismiss(Dismissal::Superseded)]));
        drop(one);
        assert!(sessions.has(&device()), "the end of the first does not take the second away");
        drop(two);
        assert_eq!(sessions.count(), 0);
    }

    #[tokio::test]
    async fn no_tunnel_without_a_session() {
        let sessions = Sessions::default();
        assert_eq!(sessions.open_tunnel(&device(), "kim").await.unwrap_err(), OpenError::NotConnected);
        let mailbox = Arc::new(Mailbox::default());
        let entry = sessions.enter(device(), Arc::clone(&mailbox));
        let waiting = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.open_tunnel(&device(), "kim").await }
        });
        tokio::task::yield_now().await;
        drop(mailbox.take());
        drop(entry);
        assert_eq!(waiting.await.unwrap().unwrap_err(), OpenError::NotConnected, "it ended before it answered");
    }
}
