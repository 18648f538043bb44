//! Refuses characters that cannot be seen, or that make a text look like another one: whoever signs a configuration signs what they see.

use super::error::{ParseError, ParseProblem};
use super::outline::Position;

/// Finds the first such character.
pub(super) fn check(text: &str) -> Result<(), ParseError> {
    let mut position = Position { line: 1, column: 1 };
    for c in text.chars() {
        if let Some(name) = unwanted(c) {
            return Err(ParseError::new(ParseProblem::Character { code: u32::from(c), name }, position, String::new(), text));
        }
        position = if c == '\n' {
            Position { line: position.line + 1, column: 1 }
        } else {
            Position { column: position.column + 1, ..position }
        };
    }
    Ok(())
}

fn unwanted(c: char) -> Option<&'static str> {
    match c {
        '\n' | '\t' => None,
        '\r' => Some("a carriage return"),
        '\0' => Some("a NUL character"),
        '\u{feff}' => Some("a byte-order mark"),
        '\u{2028}' | '\u{2029}' => Some("a Unicode line separator"),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => Some("a text direction control"),
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{00ad}' => Some("an invisible character"),
        c if c.is_control() => Some("a control character"),
        _ => None,
    }
}
