//! What bytes must be before anything looks into them: small enough, and UTF-8.

/// The largest configuration file in bytes, signature included. A SEED copy holds one of this size.
pub const MAX_CONFIG_BYTES: usize = 256 * 1024;

/// Why bytes are no text to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextError {
    /// More than [`MAX_CONFIG_BYTES`].
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not UTF-8 from here on.
    NotUtf8 {
        /// Bytes before the first wrong one.
        offset: usize,
    },
}

/// The bytes as text.
pub(crate) fn read(bytes: &[u8]) -> Result<&str, TextError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(TextError::TooLarge { bytes: bytes.len() });
    }
    std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8 { offset: error.valid_up_to() })
}
