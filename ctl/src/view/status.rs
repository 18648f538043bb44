//! `version` and `status`.

use api::v1;

use super::mirror::{Time, mirror, word};
use super::units::{duration_ms, unless_zero, yes_no};
use super::{Fields, View};

word! {
    /// State of a boot phase.
    PhaseState = v1::PhaseState, "PHASE_STATE_"
}
word! {
    /// Mode of the node.
    Mode = v1::NodeMode, "NODE_MODE_"
}
mirror! {
    /// What runs on the node.
    Version = v1::VersionResponse {
        version: String,
        board: String,
        architecture: String,
        kernel: String,
        api_version: String,
        runtime_root_hash: String,
    }
}
mirror! {
    /// How the node is.
    Status = v1::StatusResponse {
        device_id: String,
        hostname: String,
        mode: Mode,
        phase: String,
        phase_state: PhaseState,
        waiting_for: String,
        errors: Vec<String>,
        addresses: Vec<String>,
        config_generation: u64,
        config_digest: String,
        not_yet_in_effect: Vec<String>,
        healthy: bool,
        time: Option<Time>,
        uptime_ms: u64,
        fleet: String,
        clock: String,
        runs_from: String,
        install: String,
        hub: String,
    }
}

impl View for Version {
    fn text(&self) -> String {
        Fields::new()
            .add("version", &self.version)
            .add("board", &self.board)
            .add("architecture", &self.architecture)
            .add("kernel", &self.kernel)
            .add("api", &self.api_version)
            .add("runtime", &self.runtime_root_hash)
            .text()
    }
}

impl View for Status {
    fn text(&self) -> String {
        let time = self.time.as_ref().map_or("", |time| &time.0);
        Fields::new()
            .add("device", &self.device_id)
            .add("host name", &self.hostname)
            .add("fleet", &self.fleet)
            .add("mode", &self.mode.0)
            .add_some("runs from", &self.runs_from)
            .add("phase", format!("{} ({})", self.phase, self.phase_state.0))
            .add_some("waiting for", &self.waiting_for)
            .add_some("installation", &self.install)
            .add_some("hub", &self.hub)
            .add("healthy", yes_no(self.healthy))
            .add("generation", unless_zero(self.config_generation))
            .add_some("digest", &self.config_digest)
            .add_each("addresses", &self.addresses)
            .add("time", format!("{time} (clock: {})", self.clock))
            .add("up", duration_ms(self.uptime_ms))
            .add_each("not in effect", &self.not_yet_in_effect)
            .add_each("errors", &self.errors)
            .text()
    }
}
