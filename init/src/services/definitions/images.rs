//! The one-shot that imports image archives, so that pods start without any registry.

use std::time::Duration;

use rustix::thread::CapabilitySet;

use crate::services::spec::{Backoff, Capabilities, Kind, ServiceSpec};

/// It reads archives that may come from anywhere: it keeps root's name, to reach containerd's socket, and none of root's powers.
pub(super) fn spec() -> ServiceSpec {
    ServiceSpec {
        kind: Kind::OneShot,
        depends_on: vec!["containerd".to_owned()],
        // Hundreds of megabytes through zstd, on an SD card.
        start_deadline: Duration::from_secs(30 * 60),
        // A broken archive does not heal by being read again and again.
        backoff: Backoff { min: Duration::from_secs(5), max: Duration::from_secs(3600), ..Backoff::default() },
        capabilities: Capabilities::Only(CapabilitySet::empty()),
        no_new_privs: true,
        ..ServiceSpec::daemon("images", &["/usr/bin/skerry-images"])
    }
}
