//! How much the port lets anybody have. The figures are for one process.

use std::time::Duration;

/// Bounds of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Admitted devices at once.
    pub devices: usize,
    /// Connections at once that have not shown a device's key.
    pub strangers: usize,
    /// Those of one address. A whole site, or all that call through one proxy, is one address. A /48 has twice as many.
    pub strangers_of_one: usize,
    /// Web connections at once.
    pub web: usize,
    /// Those of one address.
    pub web_of_one: usize,
    /// New connections of one address in a second, on the average.
    pub calls_per_second: u32,
    /// And at once.
    pub calls_at_once: u32,
    /// Time for TLS.
    pub handshake: Duration,
    /// Time from TLS to the call that a device has a connection for.
    pub first_call: Duration,
    /// Time from TLS to the verdict.
    pub verdict: Duration,
    /// What is still under way may finish for this long after a session.
    pub drain: Duration,
    /// Time for the header of a web request.
    pub web_header: Duration,
    /// Time from a web request's header to its answer's.
    pub web_request: Duration,
    /// How long a web connection takes new requests; an image, a log or a tunnel on it lasts longer.
    pub web_visit: Duration,
    /// How long any other answer may take after that.
    pub web_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices: 25_000,
            strangers: 4096,
            strangers_of_one: 512,
            web: 1024,
            web_of_one: 128,
            calls_per_second: 50,
            calls_at_once: 1000,
            handshake: Duration::from_secs(10),
            first_call: Duration::from_secs(15),
            verdict: Duration::from_secs(75),
            drain: Duration::from_secs(5),
            web_header: Duration::from_secs(10),
            web_request: Duration::from_secs(60),
            web_visit: Duration::from_secs(600),
            web_answer: Duration::from_secs(120),
        }
    }
}
