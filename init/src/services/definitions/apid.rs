//! The API daemon: the one service that faces the network, so it may do nothing but that.

use std::time::Duration;

use rustix::thread::CapabilitySet;

use crate::services::spec::{Backoff, Capabilities, Files, Readiness, Resource, Rlimit, ServiceSpec, Share, User};

/// apid as its own user, without any capability; ready when it reports its listener.
pub(super) fn spec() -> ServiceSpec {
    ServiceSpec {
        readiness: Readiness::Reported,
        // It is the only way in: a crash must not lock the operator out for a minute.
        backoff: Backoff { min: Duration::from_millis(200), max: Duration::from_secs(5), ..Backoff::default() },
        user: Some(User { uid: api::APID_UID, gid: api::APID_UID }),
        capabilities: Capabilities::Only(CapabilitySet::empty()),
        no_new_privs: true,
        // resolv.conf and hosts, for the hub's name. They are replaced by renaming, so the rule is for their folder; what is secret
        // there is closed to all but root.
        files: Files::OwnProgram { reads: &["/etc"] },
        // Without it nobody reaches the device; it is small and goes late.
        oom_score_adj: -900,
        rlimits: vec![
            Rlimit { resource: Resource::OpenFiles, soft: 4096, hard: 4096 },
            Rlimit { resource: Resource::CoreBytes, soft: 0, hard: 0 },
        ],
        // Ten times what it needs, and enough for every connection it takes; what leaks or is attacked must not cost the workloads theirs.
        share: Share { memory_bytes: Some(96 << 20), tasks: Some(16) },
        ..ServiceSpec::daemon("apid", &["/skerry/apid"])
    }
}
