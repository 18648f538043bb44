//! The unix socket and who may connect to it.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use futures_util::stream::{Stream, unfold};
use tokio::net::{UnixListener, UnixStream};

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

/// Connections of admitted peers; others are closed before they can say anything, and recorded.
pub(super) fn admitted(listener: UnixListener, events: EventLog) -> impl Stream<Item = io::Result<UnixStream>> {
    unfold((listener, events), async |(listener, events)| {
        let connection = next_admitted(&listener, &events).await;
        Some((connection, (listener, events)))
    })
}

async fn next_admitted(listener: &UnixListener, events: &EventLog) -> io::Result<UnixStream> {
    loop {
        let (connection, _) = listener.accept().await?;
        let uid = connection.peer_cred()?.uid();
        if may_connect(uid) {
            return Ok(connection);
        }
        events.record(EventKind::Call, "api", &format!("refused a connection of user {uid} to init's socket"));
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
