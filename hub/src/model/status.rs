//! What a device reports of itself, cut to what the hub keeps.

use api::hub::v1::ResourceUse;
use api::v1::StatusResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::bounded;
use super::time::Time;

/// Bytes of one line at most.
const LINE_BYTES: usize = 512;
/// Bytes of a name at most.
const NAME_BYTES: usize = 253;
/// Lines of one list at most.
const MAX_LINES: usize = 32;

/// What a device is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It did not say.
    #[default]
    Unknown,
    /// It starts.
    Booting,
    /// It has no configuration.
    Maintenance,
    /// A configuration is in force.
    Configured,
    /// It goes down.
    Stopping,
}

/// How its boot phase stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PhaseState {
    /// It did not say.
    #[default]
    Unknown,
    /// Not begun.
    Pending,
    /// In it.
    Running,
    /// Blocked on what `waitingFor` says.
    Waiting,
    /// Done.
    Done,
    /// Failed; `errors` says why.
    Failed,
}

/// A device's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its host name.
    pub hostname: String,
    /// What it is about.
    pub mode: Mode,
    /// Its boot phase.
    pub phase: String,
    /// How that stands.
    pub phase_state: PhaseState,
    /// One line for people; empty: nothing is awaited.
    pub waiting_for: String,
    /// Failed phases and services, a line each.
    pub errors: Vec<String>,
    /// Such as `enp0s2 10.0.2.15/24`.
    pub addresses: Vec<String>,
    /// Generation of the configuration in force; 0: none.
    pub config_generation: u64,
    /// SHA-256 of its file; empty: none.
    pub config_digest: String,
    /// Settings this version does not act on.
    pub not_yet_in_effect: Vec<String>,
    /// It is healthy.
    pub healthy: bool,
    /// What its clock says.
    pub time: Option<Time>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The fleet it obeys.
    pub fleet: String,
    /// `trusted` or `floor`.
    pub clock: String,
    /// Such as `vda`, or `RAM`.
    pub runs_from: String,
    /// How it stands with its installation; empty: nothing to say.
    pub install: String,
    /// How it says it stands with its hub.
    #[serde(default)]
    pub hub: String,
}

/// The use of a device's resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// One-minute load average per CPU, in percent.
    pub load_percent: u32,
    /// Memory available, in MiB.
    pub memory_available_mib: u32,
    /// Free space of DATA, in MiB.
    pub data_available_mib: u32,
}

impl From<ResourceUse> for Use {
    fn from(report: ResourceUse) -> Self {
        let ResourceUse { load_percent, memory_available_mib, data_available_mib } = report;
        Self { load_percent, memory_available_mib, data_available_mib }
    }
}

impl Status {
    /// What is kept of a report.
    pub fn of(report: &StatusResponse) -> Self {
        let name = |text: &str| bounded(text, NAME_BYTES);
        let line = |text: &str| bounded(text, LINE_BYTES);
        let lines = |lines: &[String]| lines.iter().take(MAX_LINES).map(|text| line(text)).collect();
        Self {
            hostname: name(&report.hostname),
            mode: Mode::of(report.mode()),
            phase: name(&report.phase),
            phase_state: PhaseState::of(report.phase_state()),
            waiting_for: line(&report.waiting_for),
            errors: lines(&report.errors),
            addresses: lines(&report.addresses),
            config_generation: report.config_generation,
            config_digest: name(&report.config_digest),
            not_yet_in_effect: lines(&report.not_yet_in_effect),
            healthy: report.healthy,
            time: report.time.as_ref().map(time_of),
            uptime_ms: report.uptime_ms,
            fleet: name(&report.fleet),
            clock: name(&report.clock),
            runs_from: name(&report.runs_from),
            install: line(&report.install),
            hub: line(&report.hub),
        }
    }
}

/// A device's moment, as far as it can be one.
pub(super) fn time_of(time: &prost_types::Timestamp) -> Time {
    Time::from_millis(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000))
}

impl Mode {
    fn of(mode: api::v1::NodeMode) -> Self {
        match mode {
            api::v1::NodeMode::Unspecified => Self::Unknown,
            api::v1::NodeMode::Booting => Self::Booting,
            api::v1::NodeMode::Maintenance => Self::Maintenance,
            api::v1::NodeMode::Configured => Self::Configured,
            api::v1::NodeMode::Stopping => Self::Stopping,
        }
    }
}

impl PhaseState {
    fn of(state: api::v1::PhaseState) -> Self {
        match state {
            api::v1::PhaseState::Unspecified => Self::Unknown,
            api::v1::PhaseState::Pending => Self::Pending,
            api::v1::PhaseState::Running => Self::Running,
            api::v1::PhaseState::Waiting => Self::Waiting,
            api::v1::PhaseState::Done => Self::Done,
            api::v1::PhaseState::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_bomb_is_cut_before_it_is_kept() {
        let bomb = "x".repeat(1 << 20);
        let report = StatusResponse {
            hostname: bomb.clone(),
            waiting_for: bomb.clone(),
            errors: vec![bomb.clone(); 100],
            addresses: vec![bomb; 100],
            time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
            mode: 77,
            ..Default::default()
        };
        let kept = Status::of(&report);
        assert!(serde_json::to_string(&kept).unwrap().len() < 40 << 10);
        assert_eq!((kept.errors.len(), kept.mode), (MAX_LINES, Mode::Unknown));
        serde_json::from_str::<Status>(&serde_json::to_string(&kept).unwrap()).unwrap();
    }
}
