//! The unix socket and who may connect to it.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::admitted::Admitted;
use crate::node::{EventKind, EventLog};

/// Makes the socket, for root and apid's group; a stale one is replaced.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    if rustix::process::geteuid().is_root() {
        chown(path, Some(0), Some(api::APID_UID))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Connections at once. apid needs one; whoever has taken it over gets no more of PID 1's memory than these hold.
const CONNECTIONS: usize = 8;

/// After an accept that failed: out of descriptors or memory, which the next moment may have.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections of admitted peers, for ever; others are closed before they can say anything, and recorded.
pub(super) fn admitted(listener: UnixListener, events: EventLog) -> impl Stream<Item = io::Result<Admitted>> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    unfold((listener, events, slots), async |(listener, events, slots)| {
        let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
        let stream = next_admitted(&listener, &events).await;
        Some((Ok(Admitted::new(stream, slot)), (listener, events, slots)))
    })
}

async fn next_admitted(listener: &UnixListener, events: &EventLog) -> UnixStream {
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on init's socket");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match connection.peer_cred().map(|peer| peer.uid()) {
            Ok(uid) if may_connect(uid) => return connection,
            Ok(uid) => events.record(EventKind::Call, "api", &format!("refused a connection of user {uid} to init's socket")),
            Err(error) => tracing::warn!(%error, "cannot tell who connects to init's socket"),
        }
    }
}

/// Root, apid, and the user init itself runs as (root, but for tests).
fn may_connect(uid: u32) -> bool {
    uid == 0 || uid == api::APID_UID || uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_apid_may_connect() {
        assert!(may_connect(0) && may_connect(api::APID_UID));
        assert!(!may_connect(65534) && !may_connect(7441));
    }
}
