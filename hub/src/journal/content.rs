//! What the bytes of the journal's file say. A disk that was full, or a power cut, leaves a line that was not written whole: at the end it was no
//! line yet; before others it is told, with what can be read behind it. Whether anything is lost by that is for the [audit](super::begin) to say.

use super::line::{Fact, Line, NoLine};

/// What stands in the file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The lines up to the first that is torn.
    pub(super) lines: Vec<Line>,
    /// How many bytes these are.
    pub(super) whole: u64,
    /// A line behind them that was not written whole.
    pub(super) torn: Option<Torn>,
}

/// A line that was not written whole, and what stands behind it.
#[derive(Debug)]
pub(super) struct Torn {
    /// Which, from 1.
    pub(super) number: usize,
    /// The lines behind it that can be read.
    pub(super) behind: Vec<Line>,
}

impl Torn {
    /// The numbers began anew behind it.
    pub(super) fn was_restored(&self) -> bool {
        self.behind.iter().any(|line| line.fact == Fact::Restored)
    }
}

/// A line of a later program; its number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Later(pub(super) usize);

impl Content {
    /// # Errors
    /// A line tells what this program does not know: to pass over it would undo it.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Later> {
        let mut content = Self::default();
        for (number, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let Some(line) = text.strip_suffix(b"\n") else { break };
            match (str::from_utf8(line).map_err(|_| NoLine::Torn).and_then(str::parse), &mut content.torn) {
                (Ok(line), None) => {
                    content.lines.push(line);
                    content.whole += text.len() as u64;
                }
                (Ok(line), Some(torn)) => torn.behind.push(line),
                (Err(NoLine::Later), _) => return Err(Later(number)),
                (Err(NoLine::Torn), None) => content.torn = Some(Torn { number, behind: vec![] }),
                (Err(NoLine::Torn), Some(_)) => {}
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seqs: std::ops::Range<i64>) -> String {
        let device = "ab".repeat(32).parse().unwrap();
        let used = Fact::Used { token: "0123".into(), device };
        seqs.map(|seq| format!("{}\n", Line { seq, fact: used.clone() })).collect()
    }

    #[test]
    fn wherever_a_batch_was_cut_off_and_written_again_what_was_whole_before_is_kept() {
        let (before, batch) = (text(10..12), text(12..14));
        let word = "12 used".len();
        for cut in word..batch.len() {
            let torn = format!("{before}{}", &batch[..cut]);
            let content = Content::of(torn.as_bytes()).unwrap();
            assert!(content.torn.is_none(), "at the end it is no line yet: {torn}");
            let again = format!("{torn}{batch}");
            let content = Content::of(again.as_bytes()).unwrap();
            let whole = content.lines.len() as u64;
            assert!(again.as_bytes()[..content.whole as usize].ends_with(b"\n"), "{again}");
            assert!((2..=5).contains(&whole), "{again}");
            let behind = content.torn.map_or(0, |torn| torn.behind.len());
            assert!(whole as usize + behind >= 3, "nothing that can be read is passed over: {again}");
        }
    }

    #[test]
    fn a_page_that_never_reached_the_disk_is_torn_and_a_later_programs_word_is_not() {
        let mut bytes = text(1..4).into_bytes();
        let second = text(1..2).len();
        bytes[second + 3..second + 20].fill(0);
        let content = Content::of(&bytes).unwrap();
        assert_eq!((content.lines.len(), content.whole), (1, second as u64));
        let torn = content.torn.unwrap();
        assert_eq!((torn.number, torn.behind.len(), torn.was_restored()), (2, 1, false));
        let later = format!("{}2 forgiven t\n", text(1..2));
        assert_eq!(Content::of(later.as_bytes()).unwrap_err(), Later(2));
        let restored = format!("{}\0\0\n4 restored\n{}", text(1..2), text(5..6));
        assert!(Content::of(restored.as_bytes()).unwrap().torn.unwrap().was_restored());
    }
}
