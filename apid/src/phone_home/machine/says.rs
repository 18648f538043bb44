//! What the hub says, held within bounds: its hints about time, and its words to people.

use std::time::Duration;

use super::super::backoff::Chance;

/// Characters of a line shown to a person.
const MAX_LINE: usize = 200;

/// A line that may stand on a console and in a log: printable characters only, and not many.
pub(super) fn one_line(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            ' '
        } else {
            c
        }
    };
    text.chars().map(shown).take(MAX_LINE).collect::<String>().trim().to_owned()
}

/// Seconds of a hint within bounds; 0: it says nothing.
pub(super) fn bounded(hint: u32, unsaid: u32, least: u32, most: u32) -> Duration {
    Duration::from_secs(u64::from(if hint == 0 { unsaid } else { hint }.clamp(least, most)))
}

/// The pause before a pending device asks again.
pub(super) fn pending_pause(hint: u32, chance: &mut Chance) -> Duration {
    chance.part_of(bounded(hint, 30, 5, 600), 80)
}

/// The pause before a refused device asks again: long, and the longest for one that was removed; a hub that is merely busy is asked sooner.
pub(super) fn refused_pause(code: &str, hint: u32, chance: &mut Chance) -> Duration {
    let pause = match code {
        "busy" => bounded(hint, 60, 5, 600),
        "removed" => bounded(3600, 3600, 3600, 3600),
        _ => bounded(hint, 300, 300, 3600),
    };
    chance.part_of(pause, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_s_words_cannot_paint_the_console() {
        assert_eq!(one_line("\x1b[2Jwait\r\nfor\u{202e}kim "), "[2Jwait  for kim");
        assert_eq!(one_line(&"ä".repeat(1 << 20)).chars().count(), MAX_LINE);
    }

    #[test]
    fn hints_are_held_within_bounds() {
        let chance = &mut Chance::new(1);
        let within =
            |pause: Duration, most: u64| pause <= Duration::from_secs(most) && pause >= Duration::from_secs(most) * 4 / 5;
        for (hint, expected) in [(0, 30), (1, 5), (15, 15), (u32::MAX, 600)] {
            assert!(within(pending_pause(hint, chance), expected), "{hint}");
        }
        for (code, hint, expected) in
            [("refused", 1, 300), ("token-used", u32::MAX, 3600), ("removed", 1, 3600), ("busy", 10, 10), ("", 0, 300)]
        {
            assert!(within(refused_pause(code, hint, chance), expected), "{code} {hint}");
        }
    }
}
