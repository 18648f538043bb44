//! The API daemon: the one service that faces the network, so it may do nothing but that.

use rustix::thread::CapabilitySet;

use crate::services::spec::{Capabilities, Readiness, Resource, Rlimit, ServiceSpec, User};

/// apid as its own user, without any capability; ready when it reports its listener.
pub(super) fn spec() -> ServiceSpec {
    ServiceSpec {
        readiness: Readiness::Reported,
        user: Some(User { uid: api::APID_UID, gid: api::APID_UID }),
        capabilities: Capabilities::Only(CapabilitySet::empty()),
        no_new_privs: true,
        // Without it nobody reaches the device; it is small and goes late.
        oom_score_adj: -900,
        rlimits: vec![
            Rlimit { resource: Resource::OpenFiles, soft: 4096, hard: 4096 },
            Rlimit { resource: Resource::CoreBytes, soft: 0, hard: 0 },
        ],
        ..ServiceSpec::daemon("apid", &["/skerry/apid"])
    }
}
