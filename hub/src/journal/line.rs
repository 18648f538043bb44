//! A line of the journal: the number of the audit's line it was taken from, and the fact.

use std::fmt;
use std::str::FromStr;

use machine_config::DeviceId;

/// Something that no older database may undo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The device with this key is removed for good.
    Removed {
        /// The device.
        device: DeviceId,
        /// Its key.
        key: [u8; 32],
    },
    /// This device joined with the token that has this id.
    Used {
        /// The token's id.
        token: String,
        /// The device.
        device: DeviceId,
    },
    /// The token with this id is revoked.
    Revoked {
        /// The token's id.
        token: String,
    },
    /// The API token with this id is revoked.
    ApiRevoked {
        /// The token's id.
        token: String,
    },
    /// An older database was put in place here: the numbers begin anew.
    Restored,
}

/// A fact, and where it stood in the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number of the audit's line.
    pub seq: i64,
    /// The fact.
    pub fact: Fact,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.seq)?;
        match &self.fact {
            Fact::Removed { device, key } => write!(f, "removed {device} {}", hex::encode(key)),
            Fact::Used { token, device } => write!(f, "used {token} {device}"),
            Fact::Revoked { token } => write!(f, "revoked {token}"),
            Fact::ApiRevoked { token } => write!(f, "api-revoked {token}"),
            Fact::Restored => f.write_str("restored"),
        }
    }
}

/// The words that tell what a fact is.
const WORDS: [&str; 5] = ["removed", "used", "revoked", "api-revoked", "restored"];

/// A text that is no line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLine {
    /// It was not written whole.
    #[error("it was not written whole")]
    Torn,
    /// It says something that this program has no word for.
    #[error("a later program wrote it")]
    Later,
}

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(text: &str) -> Result<Self, NoLine> {
        let (seq, fact) = text.split_once(' ').ok_or(NoLine::Torn)?;
        let seq = seq.parse().map_err(|_| NoLine::Torn)?;
        let words: Vec<&str> = fact.split(' ').collect();
        let fact = match words[..] {
            ["removed", device, key] => Fact::Removed { device: device.parse().map_err(|_| NoLine::Torn)?, key: key_of(key)? },
            ["used", token, device] => Fact::Used { token: token.to_owned(), device: device.parse().map_err(|_| NoLine::Torn)? },
            ["revoked", token] => Fact::Revoked { token: token.to_owned() },
            ["api-revoked", token] => Fact::ApiRevoked { token: token.to_owned() },
            ["restored"] => Fact::Restored,
            _ => return Err(unknown(words[0])),
        };
        Ok(Self { seq, fact })
    }
}

/// What a line is that begins with this word. A line that was cut off is followed by what was written next, which begins with a number.
fn unknown(word: &str) -> NoLine {
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if is_word && !WORDS.contains(&word) { NoLine::Later } else { NoLine::Torn }
}

fn key_of(text: &str) -> Result<[u8; 32], NoLine> {
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoLine::Torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let device: DeviceId = "ab".repeat(32).parse().unwrap();
        for fact in [
            Fact::Removed { device: device.clone(), key: [7; 32] },
            Fact::Used { token: "0123".into(), device },
            Fact::Revoked { token: "0123".into() },
            Fact::ApiRevoked { token: "0123".into() },
            Fact::Restored,
        ] {
            let line = Line { seq: 12, fact };
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        for bad in ["", "12", "12 removed", "x restored", "12 used a", "12 removed ab cd", "12 restored now"] {
            assert_eq!(bad.parse::<Line>(), Err(NoLine::Torn), "{bad}");
        }
        assert_eq!("12 forgiven a b c".parse::<Line>(), Err(NoLine::Later));
        assert_eq!("12 forgi12 forgiven a".parse::<Line>(), Err(NoLine::Torn), "cut off, and written again");
    }
}
