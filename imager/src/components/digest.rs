//! The text form of SHA-256 digests, as locks and manifests write them, and digests of whole files.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::image::digest::{Digest, Hasher};

/// A text that is no SHA-256.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{text}` as a SHA-256: it must be 64 hexadecimal digits")]
pub struct DigestError {
    text: String,
}

/// The digest of a file, read in pieces.
pub fn of_file(path: &Path) -> io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Hasher::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hash.finish())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError { text: text.to_owned() })?;
        Ok(bytes.into())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_both_ways() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().expect("hex"), Digest::of(b""));
        assert!("e3b0".parse::<Digest>().is_err());
    }
}
