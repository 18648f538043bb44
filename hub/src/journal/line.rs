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
            Fact::Restored => f.write_str("restored"),
        }
    }
}

/// A text that is no line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no line of a journal")]
pub struct NoLine;

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(text: &str) -> Result<Self, NoLine> {
        let words: Vec<&str> = text.split(' ').collect();
        let (seq, fact) = words.split_first().ok_or(NoLine)?;
        let fact = match *fact {
            ["removed", device, key] => Fact::Removed { device: device.parse().map_err(|_| NoLine)?, key: key_of(key)? },
            ["used", token, device] => Fact::Used { token: token.to_owned(), device: device.parse().map_err(|_| NoLine)? },
            ["revoked", token] => Fact::Revoked { token: token.to_owned() },
            ["restored"] => Fact::Restored,
            _ => return Err(NoLine),
        };
        Ok(Self { seq: seq.parse().map_err(|_| NoLine)?, fact })
    }
}

fn key_of(text: &str) -> Result<[u8; 32], NoLine> {
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoLine)
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
            Fact::Restored,
        ] {
            let line = Line { seq: 12, fact };
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        for bad in ["", "12", "12 removed", "x restored", "12 used a", "12 removed ab cd", "12 restored now"] {
            assert_eq!(bad.parse::<Line>(), Err(NoLine), "{bad}");
        }
    }
}
