//! What the hub counts, as Prometheus reads it. Numbers only: no device, no person and no address is a label.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What the text is, for the HTTP header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Unserved {
    /// The hub has as many as it takes.
    Full,
    /// This address has as many as it gets.
    Crowded,
    /// This address calls too often.
    Fast,
    /// TLS failed.
    Handshake,
    /// It was too slow.
    Slow,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Ended {
    /// The device waits for approval.
    Pending,
    /// It was refused.
    Refused,
    /// It hung up.
    Left,
    /// It broke the protocol, or was silent.
    Cut,
    /// The hub ended it.
    Dismissed,
    /// The database failed.
    Failed,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Way {
    /// From an operator to a device.
    ToDevice,
    /// From a device to an operator.
    ToOperator,
}

/// The label of connections that were not served.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhyUnserved {
    /// Why.
    pub reason: Unserved,
}

/// The label of sessions that ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HowEnded {
    /// How.
    pub how: Ended,
}

/// The label of tunnelled bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhichWay {
    /// Which way.
    pub way: Way,
}

/// The label of answered configurations: `accepted`, or the code of the refusal where it is one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhatBecame {
    /// What became of it.
    pub outcome: Outcome,
}

/// What a device said about a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It accepted it.
    Accepted,
    /// It refused it.
    Refused,
}

/// The counters. Cloned freely; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Connections that were accepted from the network.
    pub connections: Counter,
    /// Connections that were not served.
    pub unserved: Family<WhyUnserved, Counter>,
    /// Devices connected now.
    pub connected: Gauge,
    /// Sessions that ended.
    pub ended: Family<HowEnded, Counter>,
    /// Proofs that were wrong.
    pub wrong_proofs: Counter,
    /// Heartbeats received.
    pub heartbeats: Counter,
    /// Answers of devices to configurations.
    pub outcomes: Family<WhatBecame, Counter>,
    /// Tunnels open now.
    pub tunnels: Gauge,
    /// Tunnelled bytes.
    pub tunnelled: Family<WhichWay, Counter>,
    /// Reports that were lost because the database was too slow.
    pub reports_lost: Counter,
    /// When the hub started, in seconds since 1970.
    pub started: Gauge<f64, AtomicU64>,
}

/// The counters under their names.
#[derive(Clone)]
pub struct Exposition(Arc<Registry>);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Exposition {
    /// Gives them their names.
    pub fn of(metrics: &Metrics) -> Self {
        let mut registry = Registry::with_prefix("skerry_hub");
        registry.register("connections", "Connections accepted from the network", metrics.connections.clone());
        registry.register("connections_unserved", "Connections that were not served, by reason", metrics.unserved.clone());
        registry.register("devices_connected", "Devices connected to this process", metrics.connected.clone());
        registry.register("sessions_ended", "Sessions of devices that ended, by how", metrics.ended.clone());
        registry.register("proofs_wrong", "Greetings whose proof was wrong", metrics.wrong_proofs.clone());
        registry.register("heartbeats", "Heartbeats received", metrics.heartbeats.clone());
        registry.register("config_outcomes", "Answers of devices to configurations", metrics.outcomes.clone());
        registry.register("tunnels_open", "Operators' connections to devices that are open", metrics.tunnels.clone());
        registry.register_with_unit("tunnelled", "Bytes of operators' connections", Unit::Bytes, metrics.tunnelled.clone());
        registry.register("reports_lost", "Reports lost because the database was too slow", metrics.reports_lost.clone());
        registry.register_with_unit(
            "start_time",
            "When this process started, since 1970",
            Unit::Seconds,
            metrics.started.clone(),
        );
        Self(Arc::new(registry))
    }

    /// The text Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("writing into a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_names_labels_and_the_end() {
        let metrics = Metrics::default();
        metrics.unserved.get_or_create(&WhyUnserved { reason: Unserved::Crowded }).inc_by(3);
        metrics.tunnelled.get_or_create(&WhichWay { way: Way::ToDevice }).inc_by(7);
        metrics.connected.set(2);
        let text = Exposition::of(&metrics).text();
        for line in [
            "skerry_hub_connections_unserved_total{reason=\"Crowded\"} 3",
            "skerry_hub_tunnelled_bytes_total{way=\"ToDevice\"} 7",
            "skerry_hub_devices_connected 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
