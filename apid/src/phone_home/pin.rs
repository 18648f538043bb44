//! A pin: SHA-256 of the SubjectPublicKeyInfo of the one key that may answer. Nothing else of a certificate counts.

use std::fmt;
use std::str::FromStr;

/// The pin of a hub's or a proxy's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of the key with this SubjectPublicKeyInfo (DER).
    pub fn of(subject_public_key_info: &[u8]) -> Self {
        Self(api::hub::pin(subject_public_key_info))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// Text that is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is 64 hexadecimal digits")]
pub struct NoPin;

impl FromStr for Pin {
    type Err = NoPin;

    fn from_str(text: &str) -> Result<Self, NoPin> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NoPin)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_digits_are_a_pin() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<Pin>().expect("a pin").to_string(), text);
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            assert_eq!(bad.parse::<Pin>(), Err(NoPin), "{bad}");
        }
    }
}
