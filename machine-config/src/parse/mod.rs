//! Strict parsing: one YAML document, nothing clever in it, every key known.
//!
//! Two passes over the same bytes with the same scanner. The first ([`outline`]) refuses what a configuration has no need of (anchors,
//! aliases, merge keys, tags, directives, several documents, depth, duplicate and valueless keys) and remembers where everything stands;
//! the second reads the types. Both errors carry line, column, path, the source line and a hint.

mod characters;
mod error;
mod hint;
mod outline;
mod typed;

pub use error::{ParseError, ParseProblem};
pub use outline::{MAX_DEPTH, MAX_NODES, Position};

use crate::schema::MachineConfig;
use crate::text::{self, TextError};
use outline::Outline;

/// One unsigned document.
///
/// # Errors
/// A [`ParseError`] for the first thing that is wrong.
pub fn parse(document: &[u8]) -> Result<MachineConfig, ParseError> {
    let text = text::read(document).map_err(|error| unreadable(document, error))?;
    let outline = Outline::read(text)?;
    typed::read(text, &outline)
}

/// Where the value of a path such as `machine.network.interfaces[0].mtu` stands in a document that [`parse`] takes; the nearest parent
/// that is written down, when the value itself is a default. For messages about meaning, such as
/// [`SemanticError`](crate::SemanticError).
pub fn locate(document: &[u8], path: &str) -> Option<Position> {
    let text = text::read(document).ok()?;
    Outline::read(text).ok()?.nearest(path)
}

fn unreadable(document: &[u8], error: TextError) -> ParseError {
    match error {
        TextError::TooLarge { bytes } => ParseError::of_whole(ParseProblem::TooLarge { bytes }),
        TextError::NotUtf8 { offset } => {
            let before = String::from_utf8_lossy(&document[..offset]);
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            let line = before.matches('\n').count() + 1;
            ParseError::new(ParseProblem::NotUtf8 { offset }, Position { line, column }, String::new(), &before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{{target}}}\n"
        );
        parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}", error.report("test")))
    }

    /// A serial number is text, however much it looks like something else.
    #[test]
    fn text_without_quotes_keeps_its_spelling() {
        for serial in ["0012", "1.10", "1e3", "0x1F", "no", "yes", "true", "12:30", "2026-01-01", "-5", ".inf"] {
            assert_eq!(read(&format!("serial: {serial}")).target.serial.as_deref(), Some(serial));
        }
    }

    #[test]
    fn a_report_shows_the_line_and_points_at_the_column() {
        let error = parse(b"apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetdata: {}\n").expect_err("misspelt");
        insta::assert_snapshot!(error.report("store.yaml"));
    }

    #[test]
    fn a_semantic_path_is_found_in_the_text() {
        let text = b"machine:\n  network:\n    interfaces:\n      - name: eth0\n        mtu: 1\n";
        assert_eq!(locate(text, "machine.network.interfaces[0].mtu"), Some(Position { line: 5, column: 9 }));
        assert_eq!(locate(text, "machine.network.interfaces[0].mac"), Some(Position { line: 4, column: 9 }));
        assert_eq!(locate(text, "k3s"), None);
    }
}
