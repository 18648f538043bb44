//! SHA-256, and the identifiers derived from it. Nothing here is random: the same content has the same GUIDs, salt and volume id.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of named parts, each preceded by its length, so that no two lists of parts look alike.
    pub fn of_parts<'a>(purpose: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Hasher::new();
        for part in std::iter::once(purpose.as_bytes()).chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finish()
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// A GUID for one purpose, shaped as a version 8 UUID (RFC 9562: the bits are the application's own).
    pub fn guid(&self, purpose: &str) -> Uuid {
        let derived = Self::of_parts(purpose, [self.0.as_slice()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&derived.0[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// A 32-bit number for one purpose.
    pub fn number(&self, purpose: &str) -> u32 {
        let derived = Self::of_parts(purpose, [self.0.as_slice()]);
        u32::from_le_bytes([derived.0[0], derived.0[1], derived.0[2], derived.0[3]])
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Digests what comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Nothing digested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_moved_across_their_border() {
        let one = Digest::of_parts("test", [b"ab".as_slice(), b"c"]);
        let other = Digest::of_parts("test", [b"a".as_slice(), b"bc"]);
        assert_ne!(one, other);
    }

    #[test]
    fn guids_are_valid_and_differ_by_purpose() {
        let digest = Digest::of(b"content");
        let disk = digest.guid("disk");
        assert_eq!(disk.get_version_num(), 8);
        assert_eq!(disk, Digest::of(b"content").guid("disk"));
        assert_ne!(disk, digest.guid("esp"));
        assert_ne!(disk, Digest::of(b"other").guid("disk"));
    }
}
