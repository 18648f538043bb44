//! Numbers for people.

/// `1.5 GiB`; exact below 1 KiB.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `3d 4h`, `5m 6s`, `7.8s`, `9ms`: two units at most.
pub(super) fn duration_ms(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{milliseconds}ms"),
        (0, 0, 0, _) => format!("{:.1}s", milliseconds as f64 / 1000.0),
        (0, 0, _, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _, _) => format!("{hours}h {minutes}m"),
        (_, _, _, _) => format!("{days}d {hours}h"),
    }
}

/// Seconds to the millisecond: `1.234`.
pub(super) fn seconds_of_usec(microseconds: u64) -> String {
    format!("{:.3}", microseconds as f64 / 1e6)
}

/// A number that means nothing when it is 0.
pub(super) fn unless_zero<T: PartialEq + Default + ToString>(number: T) -> String {
    if number == T::default() { String::new() } else { number.to_string() }
}

/// `yes` or `no`.
pub(super) fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_a_person_says_them() {
        for (count, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_610_612_736, "1.5 GiB"), (u64::MAX, "16384.0 PiB")]
        {
            assert_eq!(bytes(count), expected);
        }
        for (time, expected) in
            [(0, "0ms"), (999, "999ms"), (7_800, "7.8s"), (306_000, "5m 6s"), (7_260_000, "2h 1m"), (273_600_000, "3d 4h")]
        {
            assert_eq!(duration_ms(time), expected);
        }
        assert_eq!(seconds_of_usec(1_234_567), "1.235");
    }
}
