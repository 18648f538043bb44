//! `boot-times`.

use api::v1;

use super::mirror::mirror;
use super::status::PhaseState;
use super::units::seconds_of_usec;
use super::{Fields, View, table};

mirror! {
    /// When each boot phase began and ended, in microseconds since the kernel started.
    BootTimes = v1::BootTimesResponse {
        phases: Vec<PhaseTime>,
        init_start_usec: u64,
        api_ready_usec: u64,
        dhcp_wait_usec: u64,
    }
}
mirror! {
    /// One phase.
    PhaseTime = v1::PhaseTime {
        name: String,
        start_usec: u64,
        end_usec: u64,
        state: PhaseState,
        error: String,
    }
}

impl View for BootTimes {
    fn text(&self) -> String {
        let row = |phase: &PhaseTime| {
            let ended = phase.end_usec != 0;
            [
                phase.name.clone(),
                phase.state.0.clone(),
                seconds_of_usec(phase.start_usec),
                if ended { seconds_of_usec(phase.end_usec) } else { String::new() },
                if ended { seconds_of_usec(phase.end_usec.saturating_sub(phase.start_usec)) } else { String::new() },
                phase.error.clone(),
            ]
        };
        let phases = table(["PHASE", "STATE", "BEGAN s", "ENDED s", "TOOK s", "ERROR"], self.phases.iter().map(row));
        let ready = if self.api_ready_usec == 0 { String::new() } else { seconds_of_usec(self.api_ready_usec) };
        let milestones = Fields::new()
            .add("PID 1 began, s", seconds_of_usec(self.init_start_usec))
            .add("API answered, s", ready)
            .add("of that DHCP, s", seconds_of_usec(self.dhcp_wait_usec))
            .text();
        format!("{phases}\n{milestones}")
    }
}
