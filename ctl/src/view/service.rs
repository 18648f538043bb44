//! `services`, and the lines of `logs`, `dmesg` and `events`.

use api::v1;

use super::mirror::{Time, mirror, word};
use super::units::{bytes, duration_ms, unless_zero};
use super::{View, clean, table};

word! {
    /// State of a service.
    ServiceState = v1::ServiceState, "SERVICE_STATE_"
}
mirror! {
    /// All services.
    Services = v1::ServicesResponse {
        services: Vec<Service>,
    }
}
mirror! {
    /// One service.
    Service = v1::Service {
        name: String,
        state: ServiceState,
        pid: u32,
        restarts: u32,
        waiting_for: String,
        last_exit: String,
        uptime_ms: u64,
        memory_bytes: u64,
        cpu_usec: u64,
        backoff_ms: u64,
        depends_on: Vec<String>,
    }
}
mirror! {
    /// A line a service wrote.
    LogLine = v1::LogLine {
        time: Option<Time>,
        service: String,
        stream: String,
        line: String,
        dropped: u64,
    }
}
mirror! {
    /// A line the kernel wrote.
    KmsgLine = v1::KmsgLine {
        usec: u64,
        priority: u32,
        message: String,
    }
}
mirror! {
    /// Something that happened.
    Event = v1::Event {
        time: Option<Time>,
        sequence: u64,
        kind: String,
        subject: String,
        message: String,
    }
}

impl View for Services {
    fn text(&self) -> String {
        let row = |service: &Service| {
            let running = service.pid != 0;
            [
                service.name.clone(),
                service.state.0.clone(),
                unless_zero(service.pid),
                if running { duration_ms(service.uptime_ms) } else { String::new() },
                service.restarts.to_string(),
                if running { bytes(service.memory_bytes) } else { String::new() },
                duration_ms(service.cpu_usec / 1000),
                service.note(),
            ]
        };
        table(["SERVICE", "STATE", "PID", "UP", "RESTARTS", "MEMORY", "CPU", "NOTE"], self.services.iter().map(row))
    }
}

impl Service {
    /// Why it is not running, as far as the node says.
    fn note(&self) -> String {
        let mut notes = vec![];
        notes.extend((!self.waiting_for.is_empty()).then(|| format!("waits for {}", self.waiting_for)));
        notes.extend((!self.last_exit.is_empty()).then(|| format!("last: {}", self.last_exit)));
        notes.extend((self.backoff_ms != 0).then(|| format!("next try in {}", duration_ms(self.backoff_ms))));
        notes.join("; ")
    }
}

fn time_of(time: Option<&Time>) -> &str {
    time.map_or("-", |time| &time.0)
}

impl View for LogLine {
    fn text(&self) -> String {
        let lost = if self.dropped == 0 { String::new() } else { format!("({} lines lost)\n", self.dropped) };
        format!("{lost}{} {}\n", time_of(self.time.as_ref()), clean(&self.line))
    }
}

impl View for KmsgLine {
    fn text(&self) -> String {
        format!("[{:5}.{:06}] {}\n", self.usec / 1_000_000, self.usec % 1_000_000, clean(&self.message))
    }
}

impl View for Event {
    fn text(&self) -> String {
        let subject = if self.subject.is_empty() { String::new() } else { format!(" {}", clean(&self.subject)) };
        format!("{} {}{subject}: {}\n", time_of(self.time.as_ref()), clean(&self.kind), clean(&self.message))
    }
}
