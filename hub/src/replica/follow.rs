//! Following the audit: what was changed, here or at another process, reaches the sessions it concerns within a second.

use std::time::Duration;

use machine_config::DeviceId;
use tokio::sync::watch;
use tracing::warn;

use crate::model::AuditEntry;
use crate::session::Sessions;
use crate::store::{Store, StoreError};

/// How often other processes' changes are looked for.
const POLL: Duration = Duration::from_secs(1);
/// The shortest pause between two looks, however much is written.
const PAUSE: Duration = Duration::from_millis(50);

/// Whom a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern<'a> {
    Nobody,
    One(&'a DeviceId),
    All,
}

/// What a device did itself concerns no session; what somebody did to it does, and so do assignments to groups and labels.
fn concern(entry: &AuditEntry) -> Concern<'_> {
    if entry.actor.starts_with("device:") || entry.action.starts_with("tunnel.") {
        return Concern::Nobody;
    }
    match &entry.device {
        Some(device) => Concern::One(device),
        None if entry.action.starts_with("config.") || entry.action.starts_with("fleet.") => Concern::All,
        None => Concern::Nobody,
    }
}

/// Tells sessions to look again, until it is told to stop. What was written before `seq` is known.
pub async fn follow(store: Store, sessions: Sessions, mut seq: i64, mut stop: watch::Receiver<bool>) {
    let mut committed = store.committed();
    loop {
        tokio::select! {
            _ = committed.changed() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match read(&store, &sessions, seq).await {
            Ok(last) => seq = last,
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot follow changes; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(store: &Store, sessions: &Sessions, mut seq: i64) -> Result<i64, StoreError> {
    let mut all = false;
    loop {
        let entries = store.changes_after(seq).await?;
        let Some(last) = entries.last() else { break };
        seq = last.seq;
        for entry in &entries {
            match concern(entry) {
                Concern::Nobody => {}
                Concern::One(device) => sessions.look_again(device),
                Concern::All => all = true,
            }
        }
    }
    if all {
        sessions.all_look_again();
    }
    Ok(seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    fn entry(actor: &str, action: &str, device: Option<&DeviceId>) -> AuditEntry {
        AuditEntry {
            seq: 1,
            at: Time::from_millis(0),
            actor: actor.into(),
            action: action.into(),
            device: device.cloned(),
            address: String::new(),
            details: serde_json::Value::Null,
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
            ("user:kim", "user.put", None, Concern::Nobody),
            ("user:kim", "tunnel.open", Some(&id), Concern::Nobody),
            ("device:ab", "config.offer", Some(&id), Concern::Nobody),
        ] {
            assert_eq!(concern(&entry(actor, action, device)), expected, "{actor} {action}");
        }
    }
}
