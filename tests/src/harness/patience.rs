//! How long to wait for a named thing before saying that it will not come.

use std::env;
use std::fmt;
use std::time::{Duration, Instant};

/// A wait gives up after this many times the usual duration: emulated machines on busy hosts are slow, not wrong.
const FACTOR: u32 = 4;

/// A named wait: what is awaited and how long it usually takes.
#[derive(Debug, Clone)]
pub struct Patience {
    what: String,
    usual: Duration,
}

impl Patience {
    /// A wait for `what`, which usually takes `seconds` on a quiet machine of two cores.
    pub fn new(what: impl Into<String>, seconds: u64) -> Self {
        Self { what: what.into(), usual: Duration::from_secs(seconds) }
    }

    /// The longest this wait may last. `SKERRY_PATIENCE` (a whole number) multiplies it on slower hosts.
    pub fn limit(&self) -> Duration {
        let more = env::var("SKERRY_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u32);
        self.usual * FACTOR * more.max(1)
    }

    /// The moment at which this wait, begun now, gives up.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limit()
    }

    /// What is awaited.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (usually within {} s, waited {} s)", self.what, self.usual.as_secs(), self.limit().as_secs())
    }
}
