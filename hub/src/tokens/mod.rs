//! Join tokens: making them, their text, and whether one is good for a device. Pure but for the random bytes, which are an argument.
//!
//! A made token has 160 random bits, so its plain SHA-256 in the database gives nobody the token: there is nothing to guess from. Tokens that a
//! warehouse chose itself (`imager stamp`: 16 to 256 visible characters) are as good as their choice.

use machine_config::types::{MacAddress, Secret};
use sha2::{Digest as _, Sha256};

use crate::model::{Label, Labels, Time, Token};

/// How a made token begins, so that scanners for leaked secrets find it.
pub const PREFIX: &str = "skj_";
/// How an API token begins.
pub const API_PREFIX: &str = "ska_";
/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 20;
/// Uses of one token at most.
pub const MAX_USES: u32 = 100_000;
/// Characters of a token that somebody chose.
const CHOSEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The text of a token made of these random bytes.
pub fn text(prefix: &str, random: &[u8; TOKEN_BYTES]) -> Secret {
    Secret::from(format!("{prefix}{}", base32(random)))
}

/// The public name of a token: the beginning of its hash.
pub fn id(hash: &[u8; 32]) -> String {
    hex::encode(&hash[..6])
}

/// What is kept of a token.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether a text can be a token that somebody chose.
pub fn is_token(text: &str) -> bool {
    CHOSEN_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// RFC 4648 in lower case, without filling: 20 bytes are 32 characters.
fn base32(bytes: &[u8; TOKEN_BYTES]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let groups = bytes.chunks(5).map(|chunk| chunk.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte)));
    let digits = groups.flat_map(|bits| (0..8).rev().map(move |place| (bits >> (5 * place)) & 31));
    digits.map(|digit| char::from(ALPHABET[usize::try_from(digit).expect("less than 32")])).collect()
}

/// Why a token does not count. Its code stands in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody made it.
    #[error("this hub knows no such join token; stamp the device with one of this hub's")]
    Unknown,
    /// It was good for so many devices, and so many came.
    #[error("its join token was used by another device; make a new one for this device")]
    Used,
    /// Its time is over.
    #[error("its join token has expired; make a new one")]
    Expired,
    /// Somebody revoked it.
    #[error("its join token was revoked; make a new one")]
    Revoked,
    /// It is another device's.
    #[error("its join token was made for another device")]
    Bound,
}

impl TokenError {
    /// The stable code in the protocol.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "token-unknown",
            Self::Used => "token-used",
            Self::Expired => "token-expired",
            Self::Revoked => "token-revoked",
            Self::Bound => "token-bound",
        }
    }
}

/// What a token's binding is compared with: what the device says of itself, and the labels its manifest gives it.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// Serial numbers.
    pub serials: &'a [String],
    /// MAC addresses.
    pub macs: &'a [MacAddress],
    /// Labels of its manifest.
    pub labels: &'a Labels,
}

/// Whether this token lets this device ask.
///
/// # Errors
/// The first reason against it. Who it is bound to is looked at before its uses: a stranger learns nothing of who used it.
pub fn judge(token: &Token, bearer: Bearer<'_>, now: Time) -> Result<(), TokenError> {
    if token.revoked_at.is_some() {
        return Err(TokenError::Revoked);
    }
    if token.expires_at.is_some_and(|end| end <= now) {
        return Err(TokenError::Expired);
    }
    let binding = &token.binding;
    let serial = binding.serial.as_ref().is_none_or(|serial| bearer.serials.contains(serial));
    let mac = binding.mac.as_ref().is_none_or(|mac| bearer.macs.contains(mac));
    let label = binding.label.as_ref().is_none_or(|Label { key, value }| bearer.labels.get(key) == Some(value));
    if !(serial && mac && label) {
        return Err(TokenError::Bound);
    }
    if token.uses_left == 0 { Err(TokenError::Used) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::model::Binding;

    /// A token for one device.
    pub(crate) fn token() -> Token {
        Token {
            id: "t1".into(),
            name: "test".into(),
            uses_left: 1,
            uses: 0,
            binding: Binding::default(),
            labels: Labels::new(),
            groups: vec![],
            created_by: "admin-token".into(),
            created_at: Time::from_millis(0),
            expires_at: None,
            revoked_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::token;
    use super::*;
    use crate::model::Binding;

    #[test]
    fn a_token_is_its_bits_in_base32() {
        let text = text(PREFIX, b"01234567890123456789");
        assert_eq!(text.expose(), "skj_gaytemzugu3doobzgaytemzugu3doobz");
        assert!(is_token(text.expose()));
        assert_eq!(id(&hash(text.expose())).len(), 12);
        for bad in ["", "fifteen-letters", "with a space in it", &"x".repeat(257), "höchstgeheimes-wort"] {
            assert!(!is_token(bad), "{bad}");
        }
    }

    #[test]
    fn a_token_counts_only_for_whom_and_when_it_was_made() {
        let now = Time::from_millis(1000);
        let mac: MacAddress = "52:54:00:12:34:56".parse().unwrap();
        let labels = Labels::from([("shop".to_owned(), "1".to_owned())]);
        let bearer = Bearer { serials: &["S1".into()], macs: std::slice::from_ref(&mac), labels: &labels };
        let bound = |binding| Token { binding, ..token() };
        let serial = |serial: &str| bound(Binding { serial: Some(serial.into()), ..Default::default() });
        let with_mac = |mac: &str| bound(Binding { mac: mac.parse().ok(), ..Default::default() });
        let label = |label: &str| bound(Binding { label: label.parse().ok(), ..Default::default() });
        let cases = [
            (token(), Ok(())),
            (Token { expires_at: Some(Time::from_millis(1001)), ..token() }, Ok(())),
            (Token { expires_at: Some(now), ..token() }, Err(TokenError::Expired)),
            (Token { revoked_at: Some(now), ..token() }, Err(TokenError::Revoked)),
            (Token { uses_left: 0, ..token() }, Err(TokenError::Used)),
            (serial("S1"), Ok(())),
            (serial("S2"), Err(TokenError::Bound)),
            (with_mac("52:54:00:12:34:56"), Ok(())),
            (with_mac("52:54:00:12:34:57"), Err(TokenError::Bound)),
            (label("shop=1"), Ok(())),
            (label("shop=2"), Err(TokenError::Bound)),
            (Token { uses_left: 0, ..serial("S2") }, Err(TokenError::Bound)),
        ];
        for (token, expected) in cases {
            assert_eq!(judge(&token, bearer, now), expected, "{token:?}");
        }
    }
}
