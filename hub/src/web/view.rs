//! What several pages show: moments, badges, sizes, names. Pure.

use machine_config::DeviceId;

use crate::model::{Delivery, DeliveryState, Device, DeviceState, Labels, Rollout, Time};
use crate::store::SILENT_AFTER;

/// Digits of an id or digest that people compare.
const SHORT: usize = 12;

/// The beginning of an id or digest.
pub(super) fn short(text: &str) -> String {
    text.chars().take(SHORT).collect()
}

/// A moment, as a machine and as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339.
    pub(super) at: String,
    /// `5 min ago`.
    pub(super) ago: String,
}

impl Moment {
    pub(super) fn of(time: Time, now: Time) -> Self {
        Self { at: time.to_string(), ago: ago(time, now) }
    }
}

/// How long ago, or how far ahead, in one unit.
pub(super) fn ago(time: Time, now: Time) -> String {
    if time > now {
        return format!("in {}", span(time.since(now).as_secs()));
    }
    match now.since(time).as_secs() {
        0..5 => "now".to_owned(),
        seconds => format!("{} ago", span(seconds)),
    }
}

/// A time span in one unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A size in bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How a badge looks: a class of the style sheet.
pub(super) const GOOD: &str = "good";
pub(super) const WARN: &str = "warn";
pub(super) const BAD: &str = "bad";
pub(super) const QUIET: &str = "quiet";

/// A word with a colour. The colour says nothing that the word does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) word: String,
    pub(super) tone: &'static str,
}

impl Badge {
    pub(super) fn new(word: impl Into<String>, tone: &'static str) -> Self {
        Self { word: word.into(), tone }
    }

    pub(super) fn of_state(state: DeviceState) -> Self {
        let tone = match state {
            DeviceState::Pending => WARN,
            DeviceState::Admitted => GOOD,
            DeviceState::Refused | DeviceState::Quarantined => BAD,
            DeviceState::Removed => QUIET,
        };
        Self::new(state.as_str(), tone)
    }

    pub(super) fn of_delivery(delivery: &Delivery) -> (Self, String) {
        match &delivery.state {
            DeliveryState::Offered => (Self::new("offered", QUIET), String::new()),
            DeliveryState::Taken => (Self::new("taken", WARN), String::new()),
            DeliveryState::Running => (Self::new("running", GOOD), String::new()),
            DeliveryState::Refused { code, message } => (Self::new(format!("refused: {code}"), BAD), message.clone()),
        }
    }

    /// How far a configuration came, the worst first.
    pub(super) fn of_rollout(rollout: &Rollout) -> Vec<Self> {
        let Rollout { running, taken, offered, refused } = *rollout;
        let parts = [(refused, "refused", BAD), (offered, "offered", QUIET), (taken, "taken", WARN), (running, "running", GOOD)];
        let there = parts.into_iter().filter(|(count, ..)| *count > 0);
        there.map(|(count, word, tone)| Self::new(format!("{count} {word}"), tone)).collect()
    }
}

/// How a device stands and fares.
pub(super) fn badges(device: &Device, now: Time) -> Vec<Badge> {
    if device.state != DeviceState::Admitted {
        return vec![Badge::of_state(device.state)];
    }
    let mut badges = vec![];
    if !device.healthy {
        badges.push(Badge::new("not healthy", BAD));
    }
    if now.since(device.last_seen) > SILENT_AFTER {
        badges.push(Badge::new("silent", WARN));
    }
    if badges.is_empty() {
        badges.push(Badge::new("healthy", GOOD));
    }
    badges
}

/// Where a device's page is.
pub(super) fn device_href(id: &DeviceId) -> String {
    format!("/devices/{id}")
}

/// What to call a device: its name, or the beginning of its id.
pub(super) fn title(device: &Device) -> String {
    device.name.clone().unwrap_or_else(|| short(device.id.as_str()))
}

/// The beginning of a device's id; empty when it is what the device is called already.
pub(super) fn short_id(device: &Device) -> String {
    if device.name.is_some() { short(device.id.as_str()) } else { String::new() }
}

/// A name and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Those facts that there is something to say of.
pub(super) fn facts<const N: usize>(all: [(&'static str, String); N]) -> Vec<Fact> {
    all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| Fact { name, value }).collect()
}

/// Labels, one a line.
pub(super) fn label_lines(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_one_unit_and_a_clock_that_was_set_back_says_so() {
        let now = Time::from_millis(1_000_000_000_000);
        let cases = [
            (0, "now"),
            (4, "now"),
            (5, "5 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7199, "119 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 days ago"),
            (-90, "in 90 s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(ago(Time::from_millis(now.millis() - seconds * 1000), now), expected);
        }
    }

    #[test]
    fn sizes_are_rounded_down_to_a_tenth() {
        for (bytes, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_610_612_736, "1.5 GiB"), (u64::MAX, "1638.3 PiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn a_rollout_tells_of_refusals_first_and_not_of_nobody() {
        let rollout = Rollout { running: 3, taken: 0, offered: 1, refused: 2 };
        let words: Vec<_> = Badge::of_rollout(&rollout).into_iter().map(|badge| badge.word).collect();
        assert_eq!(words, ["2 refused", "1 offered", "3 running"]);
        assert!(Badge::of_rollout(&Rollout::default()).is_empty());
    }
}
