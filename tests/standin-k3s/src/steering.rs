//! How tests steer the stand-in: by node labels, since those are the one free text the machine configuration hands to k3s.

use std::collections::BTreeMap;
use std::time::Duration;

/// Label whose value is the number of seconds after which the stand-in ends with [`CRASH_EXIT_CODE`].
pub(crate) const CRASH_AFTER_SECONDS: &str = "skerry.dev/standin-crash-after-seconds";

/// Exit code of a steered crash.
pub(crate) const CRASH_EXIT_CODE: u8 = 3;

/// What the labels ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steering {
    /// Crash after this time.
    pub(crate) crash_after: Option<Duration>,
}

impl Steering {
    /// Reads the labels; those of others are none of its business.
    pub(crate) fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let seconds = labels.get(CRASH_AFTER_SECONDS).and_then(|text| text.parse().ok());
        Self { crash_after: seconds.map(Duration::from_secs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_of_seconds_makes_it_crash() {
        for (value, expected) in [("2", Some(2)), ("0", Some(0)), ("soon", None)] {
            let labels = BTreeMap::from([(CRASH_AFTER_SECONDS.to_owned(), value.to_owned())]);
            assert_eq!(Steering::from_labels(&labels).crash_after, expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(Steering::from_labels(&BTreeMap::new()), Steering::default());
    }
}
