//! init's own types in the API's form.

use std::time::{Instant, SystemTime};

use api::v1;
use machine_config::Change;

use super::Context;
use crate::node::{Applied, Event, InForce, Phase, Times, boottime_usec};
use crate::services::machine::ServiceStatus;
use crate::services::{Line, Usage};

/// The whole status, now.
pub(super) fn status(context: &Context) -> v1::StatusResponse {
    v1::StatusResponse {
        time: Some(SystemTime::now().into()),
        uptime_ms: boottime_usec() / 1000,
        ..context.node.status.get().to_wire()
    }
}

/// What this image is, and what runs it.
pub(super) fn version(context: &Context) -> v1::VersionResponse {
    let release = &context.release;
    v1::VersionResponse {
        version: release.version.clone(),
        board: release.board.clone(),
        architecture: release.architecture.clone(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        api_version: "skerry.v1".to_owned(),
        runtime_root_hash: context.node.status.get().runtime_root_hash,
    }
}

/// One service.
pub(super) fn service(status: ServiceStatus, usage: Usage, now: Instant) -> v1::Service {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    v1::Service {
        state: status.state.to_wire().into(),
        name: status.name,
        pid: status.pid,
        restarts: status.restarts,
        waiting_for: status.waiting_for,
        last_exit: status.last_exit,
        uptime_ms: status.since.map_or(0, |since| millis(now.saturating_duration_since(since))),
        memory_bytes: usage.memory_bytes,
        cpu_usec: usage.cpu_usec,
        backoff_ms: status.retry_at.map_or(0, |retry_at| millis(retry_at.saturating_duration_since(now))),
        depends_on: status.depends_on,
    }
}

/// The outcome of an application.
pub(super) fn applied(applied: Applied) -> v1::ApplyConfigResponse {
    v1::ApplyConfigResponse {
        generation: applied.generation,
        digest: applied.digest,
        changes: applied.changes.into_iter().map(change).collect(),
        not_yet_in_effect: applied.not_yet_in_effect,
        already_in_force: applied.already_in_force,
    }
}

fn change(change: Change) -> v1::ConfigChange {
    v1::ConfigChange { path: change.path, old: change.old, new: change.new, effect: change.effect.to_string() }
}

/// The configuration in force, secrets masked.
pub(super) fn config(in_force: &InForce) -> v1::GetConfigResponse {
    v1::GetConfigResponse {
        yaml: machine_config::mask(&in_force.config),
        generation: in_force.generation,
        digest: in_force.digest.clone(),
        key_id: in_force.key_id.clone(),
    }
}

/// When each phase began and ended; phases that did not begin are there with zeros.
pub(super) fn boot_times(times: &Times) -> v1::BootTimesResponse {
    v1::BootTimesResponse {
        phases: Phase::ALL.into_iter().map(|phase| phase_time(phase, times)).collect(),
        init_start_usec: times.init_start_usec,
        api_ready_usec: times.api_ready_usec.unwrap_or(0),
        dhcp_wait_usec: times.dhcp_wait_usec,
    }
}

fn phase_time(phase: Phase, times: &Times) -> v1::PhaseTime {
    let record = times.get(phase);
    let error = match &record.state {
        crate::node::PhaseState::Failed(why) => why.clone(),
        crate::node::PhaseState::Pending
        | crate::node::PhaseState::Running
        | crate::node::PhaseState::Waiting(_)
        | crate::node::PhaseState::Done => String::new(),
    };
    v1::PhaseTime {
        name: phase.name().to_owned(),
        start_usec: record.start_usec.unwrap_or(0),
        end_usec: record.end_usec.unwrap_or(0),
        state: record.state.to_wire().into(),
        error,
    }
}

/// One event.
pub(super) fn event(event: &Event) -> v1::Event {
    v1::Event {
        time: Some(event.time.into()),
        sequence: event.sequence,
        kind: event.kind.as_str().to_owned(),
        subject: event.subject.clone(),
        message: event.message.clone(),
    }
}

/// One line of a service.
pub(super) fn log_line(service: &str, line: Line, dropped: u64) -> v1::LogLine {
    v1::LogLine {
        time: Some(line.time.into()),
        service: service.to_owned(),
        stream: line.stream.as_str().to_owned(),
        line: line.text.into(),
        dropped,
    }
}
