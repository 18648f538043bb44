//! Following the audit: what was changed, here or at another process, reaches the sessions it concerns within a second.

use std::time::Duration;

use machine_config::DeviceId;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::model::AuditEntry;
use crate::session::Sessions;
use crate::store::{AuditPlace, DEVICE_MOVED, FollowError, Store};

/// How often other processes' changes are looked for.
const POLL: Duration = Duration::from_secs(1);
/// The shortest pause between two looks, however much is written.
const PAUSE: Duration = Duration::from_millis(50);

/// Sessions that look again at once when a change concerns all of them; the next ones do after a pause. Looking again takes a few statements, and
/// a fleet that all looked at once would keep devices that call from being answered.
const AT_ONCE: usize = 64;

/// Whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Concern<'a> {
    Nobody,
    One(&'a DeviceId),
    /// A device called at another process: the session that it left is over.
    Left(&'a DeviceId, &'a str),
    All,
}

/// What a device did itself concerns no session, but that it moved; what somebody did to it does, and so do assignments to groups and labels, and
/// whose signatures count.
fn concern(entry: &AuditEntry) -> Concern<'_> {
    match &entry.device {
        Some(device) if entry.action == DEVICE_MOVED => {
            Concern::Left(device, entry.details.get("from").and_then(|from| from.as_str()).unwrap_or_default())
        }
        Some(_) if entry.actor.starts_with("device:") || entry.action.starts_with("tunnel.") => Concern::Nobody,
        Some(device) => Concern::One(device),
        None if matches!(entry.action.as_str(), "config.assign" | "fleet.put") => Concern::All,
        None => Concern::Nobody,
    }
}

/// Has all sessions look again, a part of them at a time.
#[derive(Default)]
struct Spread {
    rest: Vec<DeviceId>,
    /// Something else changed since it began.
    again: bool,
}

impl Spread {
    fn begin(&mut self, sessions: &Sessions) {
        if self.rest.is_empty() {
            self.rest = sessions.devices();
        } else {
            self.again = true;
        }
    }

    fn step(&mut self, sessions: &Sessions) {
        let left = self.rest.len().saturating_sub(AT_ONCE);
        self.rest.drain(left..).for_each(|device| sessions.look_again(&device));
        if self.rest.is_empty() && std::mem::take(&mut self.again) {
            self.begin(sessions);
        }
    }

    /// How long until the next part; there is one only while some are left.
    fn pause(&self) -> Duration {
        if self.rest.is_empty() { POLL } else { PAUSE }
    }
}

/// Tells sessions of the process with this id to look again, until it is told to stop. What was written before `seq` is known. It ends by itself
/// when another database was put in place: what changed with that is not known.
pub async fn follow(store: Store, sessions: Sessions, replica: String, seq: i64, mut stop: watch::Receiver<bool>) {
    let mut place = AuditPlace::behind(seq);
    let mut committed = store.committed();
    let mut spread = Spread::default();
    let follower = Follower { store, sessions, replica };
    loop {
        tokio::select! {
            _ = committed.changed() => {}
            () = tokio::time::sleep(spread.pause()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match follower.read(&place, &mut spread).await {
            Ok(until) => place = until,
            Err(FollowError::Store(error)) => {
                warn!(error = &error as &dyn std::error::Error, "cannot follow changes; trying again");
            }
            Err(error @ FollowError::Replaced { .. }) => {
                return error!(error = &error as &dyn std::error::Error, "changes are not heard of");
            }
        }
        spread.step(&follower.sessions);
        tokio::time::sleep(PAUSE).await;
    }
}

struct Follower {
    store: Store,
    sessions: Sessions,
    replica: String,
}

impl Follower {
    async fn read(&self, place: &AuditPlace, spread: &mut Spread) -> Result<AuditPlace, FollowError> {
        let (mut all, mut place) = (false, place.clone());
        loop {
            let changes = self.store.changes_behind(&place).await?;
            place = changes.until;
            if changes.lines.is_empty() {
                break;
            }
            for entry in &changes.lines {
                match concern(entry) {
                    Concern::Nobody => {}
                    Concern::One(device) => self.sessions.look_again(device),
                    Concern::Left(device, session) => self.end(device, session),
                    Concern::All => all = true,
                }
            }
        }
        if all {
            spread.begin(&self.sessions);
        }
        Ok(place)
    }

    /// Ends the session that a device left, if it was one of this process.
    fn end(&self, device: &DeviceId, session: &str) {
        let number = session.strip_prefix(&self.replica).and_then(|rest| rest.strip_prefix(':')?.parse().ok());
        if let Some(number) = number {
            self.sessions.end(device, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;
    use crate::session::{Dismissal, Entry, Mailbox, Wish};

    fn entry(actor: &str, action: &str, device: Option<&DeviceId>) -> AuditEntry {
        AuditEntry {
            seq: 1,
            at: Time::from_millis(0),
            actor: actor.into(),
            action: action.into(),
            device: device.cloned(),
            address: String::new(),
            details: serde_json::json!({ "from": "r1:7", "to": "r2:1" }),
            previous: String::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn a_removal_reaches_its_device_and_a_groups_assignment_everybody() {
        let id: DeviceId = "ab".repeat(32).parse().unwrap();
        for (actor, action, device, expected) in [
            ("user:kim", "device.remove", Some(&id), Concern::One(&id)),
            ("user:kim", "config.assign", Some(&id), Concern::One(&id)),
            ("user:kim", "config.assign", None, Concern::All),
            ("user:kim", "fleet.put", None, Concern::All),
            ("user:kim", "config.put", None, Concern::Nobody),
            ("user:kim", "config.delete", None, Concern::Nobody),
            ("user:kim", "user.put", None, Concern::Nobody),
            ("user:kim", "tunnel.open", Some(&id), Concern::Nobody),
            ("device:ab", "config.offer", Some(&id), Concern::Nobody),
            ("device:ab", "device.moved", Some(&id), Concern::Left(&id, "r1:7")),
        ] {
            assert_eq!(concern(&entry(actor, action, device)), expected, "{actor} {action}");
        }
    }

    fn enter(sessions: &Sessions, number: u16) -> (std::sync::Arc<Mailbox>, Entry) {
        let id: DeviceId = format!("{number:064x}").parse().unwrap();
        let mailbox = std::sync::Arc::new(Mailbox::default());
        let entry = sessions.enter(id, std::sync::Arc::clone(&mailbox));
        (mailbox, entry)
    }

    #[test]
    fn a_change_for_all_reaches_all_of_them_but_not_at_once() {
        let sessions = Sessions::default();
        let entered: Vec<_> = (0..200).map(|number| enter(&sessions, number)).collect();
        let mut spread = Spread::default();
        let told = || entered.iter().map(|(mailbox, _)| mailbox.take().len()).sum::<usize>();
        spread.begin(&sessions);
        spread.step(&sessions);
        assert_eq!(told(), AT_ONCE);
        spread.begin(&sessions);
        for _ in 0..3 {
            spread.step(&sessions);
        }
        assert_eq!(told(), 200 - AT_ONCE, "those that are left of the first change");
        for _ in 0..4 {
            spread.step(&sessions);
        }
        assert_eq!(told(), 200, "and all for the second");
        assert_eq!(spread.pause(), POLL);
    }

    #[tokio::test]
    async fn an_older_database_put_in_place_ends_it_for_its_lines_would_not_be_heard() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path(), Time::from_millis(0)).await.unwrap();
        let (_stop, stopped) = watch::channel(false);
        let followed = follow(store, Sessions::default(), "ab".into(), 7, stopped);
        tokio::time::timeout(Duration::from_secs(60), followed).await.expect("it ends");
    }

    #[tokio::test]
    async fn a_device_that_moved_loses_the_session_it_left_and_no_later_one() {
        let sessions = Sessions::default();
        let (mailbox, entry) = enter(&sessions, 1);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path(), Time::from_millis(0)).await.unwrap();
        let follower = Follower { store, sessions, replica: "ab".into() };
        let id: DeviceId = format!("{:064x}", 1).parse().unwrap();
        for other in [format!("ab:{}", entry.number() + 1), format!("abc:{}", entry.number()), String::new()] {
            follower.end(&id, &other);
            assert!(mailbox.take().is_empty(), "{other}");
        }
        follower.end(&id, &format!("ab:{}", entry.number()));
        assert!(matches!(mailbox.take().as_slice(), [Wish::Dismiss(Dismissal::Superseded)]));
    }
}
