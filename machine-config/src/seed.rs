//! SEED: what is particular to one device, stamped beside an image that is the same for all. Two equal copies, so that a cut while
//! stamping leaves one of them whole.
//!
//! Each copy fills half of the partition:
//!
//! ```text
//! offset  size  what
//!      0     8  magic "SKRYSEED"
//!      8     4  version, little-endian: 1
//!     12     4  length of the payload in bytes, little-endian
//!     16    32  SHA-256 of the 16 bytes above and the payload
//!     48     n  payload: JSON of `Seed`
//!   48+n        zeros to the end of the copy
//! ```
//!
//! Nothing here is secret from whoever holds the disk, and nothing here is believed beyond what it says about itself: the
//! configuration inside is judged like any other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::disk::SEED_BYTES;
pub use crate::fleet::{FleetError, FleetTrust};
use crate::schema::Hub;
use crate::secret::exposed;
use crate::types::{HostName, Secret};

/// Bytes of one copy.
pub const COPY_BYTES: usize = SEED_BYTES as usize / 2;

const MAGIC: &[u8; 8] = b"SKRYSEED";
const VERSION: u32 = 1;
const DIGEST_AT: usize = 16;
const PAYLOAD_AT: usize = 48;

/// What is particular to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Seed {
    /// Whom the device obeys.
    pub fleet: FleetTrust,
    /// Where it phones home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// Shown to the hub once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<Secret>,
    /// What it is called until a configuration names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<HostName>,
    /// A signed configuration file, exact bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub config: Option<Vec<u8>>,
}

fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}

impl Seed {
    /// What may be shown: the join token masked, the configuration by size.
    pub fn masked(&self) -> serde_json::Value {
        let mut shown = serde_json::to_value(self).expect("a seed is JSON");
        if let Some(config) = &self.config {
            shown["config"] = format!("{} bytes", config.len()).into();
        }
        shown
    }
}

/// Which copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The one written first.
    First,
    /// The one written second.
    Second,
}

/// Why a copy does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not one of ours, or overwritten.
    #[error("it does not begin with the SEED mark")]
    Magic,
    /// A length that does not fit.
    #[error("it claims {length} bytes, more than fit")]
    Length {
        /// As claimed.
        length: u32,
    },
    /// The checksum does not hold.
    #[error("its checksum does not hold")]
    Checksum,
    /// Something after the payload.
    #[error("something stands after its end")]
    Padding,
    /// The checksum holds, but the content is none.
    #[error("its content cannot be read: {message}")]
    Content {
        /// The reader's words.
        message: String,
    },
}

/// Why a seed is not encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than a copy holds.
    #[error("cannot encode a SEED of {bytes} bytes: it holds {}; make the configuration smaller", COPY_BYTES - PAYLOAD_AT)]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
    },
}

/// Why a partition gives no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Zeros: never stamped.
    #[error("SEED is blank: this image was never stamped; stamp it, or build it with --fleet")]
    Blank,
    /// Too few or too many bytes.
    #[error("cannot read SEED of {bytes} bytes: it has {SEED_BYTES}")]
    Size {
        /// How many there are.
        bytes: usize,
    },
    /// Written by a later version.
    #[error("cannot read SEED of version {version}: this version reads {VERSION}; use a newer image")]
    Version {
        /// As found.
        version: u32,
    },
    /// Neither copy counts.
    #[error("cannot read SEED: both copies are damaged (first: {first}; second: {second}); stamp the disk again")]
    BothDamaged {
        /// Why the first does not count.
        first: Damage,
        /// Why the second does not count.
        second: Damage,
    },
}

/// A seed and the state of the copies it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The seed.
    pub seed: Seed,
    /// The other copy and why it does not count, if so.
    pub damaged: Option<(Copy, Damage)>,
    /// Both copies are whole but differ: stamping was cut between them. The first one is the newer and is the one given.
    pub differing: bool,
}

/// The whole partition.
///
/// # Errors
/// [`EncodeError::TooLarge`] when a copy cannot hold it.
pub fn encode(seed: &Seed) -> Result<Vec<u8>, EncodeError> {
    let payload = exposed(|| serde_json::to_vec(seed)).expect("a seed is JSON");
    if payload.len() > COPY_BYTES - PAYLOAD_AT {
        return Err(EncodeError::TooLarge { bytes: payload.len() });
    }
    let length = u32::try_from(payload.len()).expect("less than a copy");
    let mut copy = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &length.to_le_bytes()].concat();
    copy.extend(checksum(&copy, &payload));
    copy.extend(payload);
    copy.resize(COPY_BYTES, 0);
    Ok(copy.repeat(2))
}

fn checksum(header: &[u8], payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(payload).finalize().into()
}

/// The seed of whichever copy is whole.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(partition: &[u8]) -> Result<Decoded, DecodeError> {
    let (first, second) = match partition.split_at_checked(COPY_BYTES) {
        Some((first, second)) if second.len() == COPY_BYTES => (first, second),
        Some(_) | None => return Err(DecodeError::Size { bytes: partition.len() }),
    };
    if partition.iter().all(|byte| *byte == 0) {
        return Err(DecodeError::Blank);
    }
    match (payload(first).and_then(read), payload(second).and_then(read)) {
        (Ok(seed), Ok(other)) => Ok(Decoded { differing: seed != other, seed, damaged: None }),
        (Ok(seed), Err(Unread::Damaged(damage))) => Ok(Decoded { seed, damaged: Some((Copy::Second, damage)), differing: false }),
        (Err(Unread::Damaged(damage)), Ok(seed)) => Ok(Decoded { seed, damaged: Some((Copy::First, damage)), differing: false }),
        (Err(Unread::Damaged(first)), Err(Unread::Damaged(second))) => Err(DecodeError::BothDamaged { first, second }),
        (Err(Unread::Version(version)), _) | (_, Err(Unread::Version(version))) => Err(DecodeError::Version { version }),
    }
}

/// Why a copy gives no seed.
enum Unread {
    Damaged(Damage),
    Version(u32),
}

/// The payload of a copy whose checksum holds.
fn payload(copy: &[u8]) -> Result<&[u8], Unread> {
    let number = |at: usize| u32::from_le_bytes(copy[at..at + 4].try_into().expect("four bytes"));
    if !copy.starts_with(MAGIC) {
        return Err(Unread::Damaged(Damage::Magic));
    }
    let length = number(12);
    let end = PAYLOAD_AT.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    let content = copy.get(PAYLOAD_AT..end).ok_or(Unread::Damaged(Damage::Length { length }))?;
    if copy[DIGEST_AT..PAYLOAD_AT] != checksum(&copy[..DIGEST_AT], content) {
        return Err(Unread::Damaged(Damage::Checksum));
    }
    // Only a version that the checksum vouches for is a version; otherwise it is damage.
    match number(8) {
        VERSION => Ok(content),
        version => Err(Unread::Version(version)),
    }
    .and_then(
        |content| if copy[end..].iter().all(|byte| *byte == 0) { Ok(content) } else { Err(Unread::Damaged(Damage::Padding)) },
    )
}

fn read(payload: &[u8]) -> Result<Seed, Unread> {
    serde_json::from_slice(payload).map_err(|error| Unread::Damaged(Damage::Content { message: error.to_string() }))
}
