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

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::disk::SEED_BYTES;
pub use crate::fleet::{FleetError, FleetTrust};
use crate::identity_seed::IdentitySeed;
use crate::schema::Hub;
use crate::secret::exposed;
use crate::types::{HostName, Secret};

/// Bytes of one copy.
pub const COPY_BYTES: usize = SEED_BYTES as usize / 2;

const MAGIC: &[u8; 8] = b"SKRYSEED";
const VERSION: u32 = 1;
const LENGTH_AT: usize = 12;
const DIGEST_AT: usize = 16;
const PAYLOAD_AT: usize = 48;

/// What is particular to one device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The key that the device takes on its first boot in place of a random one, so that its device id is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySeed>,
}

fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}

impl Seed {
    /// What may be shown: the join token and the identity masked, the configuration by size.
    pub fn masked(&self) -> serde_json::Value {
        let mut shown = serde_json::to_value(self).expect("a seed is JSON");
        if let Some(config) = &self.config {
            shown["config"] = format!("{} bytes", config.len()).into();
        }
        shown
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", self.masked())
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

/// The first copy without the zeros that fill it: everything that an encoded seed says. None when the length it claims does not fit.
pub fn content(partition: &[u8]) -> Option<&[u8]> {
    let length = partition.get(LENGTH_AT..DIGEST_AT)?.try_into().map(u32::from_le_bytes).ok()?;
    partition.get(..COPY_BYTES)?.get(..PAYLOAD_AT.checked_add(usize::try_from(length).ok()?)?)
}

/// Whether a partition is what [`encode`] makes: its content, filled with zeros, twice.
pub fn is_canonical(partition: &[u8]) -> bool {
    let is_filled = |copy: &[u8], content: &[u8]| {
        copy.split_at_checked(content.len()).is_some_and(|(start, rest)| start == content && rest.iter().all(|byte| *byte == 0))
    };
    match (content(partition), partition.split_at_checked(COPY_BYTES)) {
        (Some(content), Some((first, second))) => {
            second.len() == COPY_BYTES && is_filled(first, content) && is_filled(second, content)
        }
        (Some(_) | None, Some(_) | None) => false,
    }
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
    // Only a version that the checksum vouches for is a version; any other is damage.
    let version = number(8);
    if version != VERSION {
        return Err(Unread::Version(version));
    }
    if copy[end..].iter().any(|byte| *byte != 0) {
        return Err(Unread::Damaged(Damage::Padding));
    }
    Ok(content)
}

fn read(payload: &[u8]) -> Result<Seed, Unread> {
    let content = |message| Unread::Damaged(Damage::Content { message });
    let seed: Seed = serde_json::from_slice(payload).map_err(|error| content(error.to_string()))?;
    // A device would pin such a fleet and obey nobody, for good.
    if seed.fleet.keys.is_empty() { Err(content("its fleet has no key".into())) } else { Ok(seed) }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::key::PublicKey;
    use crate::schema::HubProxy;
    use crate::text::MAX_CONFIG_BYTES;

    fn seed() -> Seed {
        let key = PublicKey::try_from(SigningKey::from_bytes(&[1; 32]).verifying_key()).expect("strong");
        Seed {
            fleet: FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key] },
            hub: Some(Hub { url: "https://hub.example".into(), pin: "ab".repeat(32), fallbacks: vec![], proxy: None }),
            join_token: Some(Secret::from("hunter2".to_owned())),
            device_name: Some("box-1".parse().expect("a name")),
            config: Some(b"a: 1\n".to_vec()),
            identity: None,
        }
    }

    fn other() -> Seed {
        Seed { device_name: None, ..seed() }
    }

    /// A copy with another version or payload, and a checksum that holds.
    fn forge(version: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small");
        let mut copy = [MAGIC.as_slice(), &version.to_le_bytes(), &length.to_le_bytes()].concat();
        copy.extend(checksum(&copy, payload));
        copy.extend(payload);
        copy.resize(COPY_BYTES, 0);
        copy
    }

    #[test]
    fn the_partition_has_these_bytes() {
        let partition = encode(&seed()).expect("fits");
        assert_eq!(partition.len() as u64, SEED_BYTES);
        let used = partition.iter().take(COPY_BYTES).rposition(|byte| *byte != 0).expect("not blank") + 1;
        let lines: Vec<String> = partition[..PAYLOAD_AT].chunks(16).map(hex::encode).collect();
        insta::assert_snapshot!(format!("{}\n{}", lines.join("\n"), String::from_utf8_lossy(&partition[PAYLOAD_AT..used])));
    }

    #[test]
    fn the_content_is_all_of_a_copy_but_the_filling() {
        let partition = encode(&seed()).expect("fits");
        let used = content(&partition).expect("encoded");
        assert!(used.ends_with(b"}") && partition[used.len()..COPY_BYTES].iter().all(|byte| *byte == 0));
        assert!(is_canonical(&partition));
        for at in [0, used.len() - 1, used.len(), COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + used.len(), partition.len() - 1] {
            let mut changed = partition.clone();
            changed[at] ^= 1;
            let same = content(&changed) == Some(used) && is_canonical(&changed);
            assert!(!same, "byte {at}");
        }
        assert!(!is_canonical(&partition[..COPY_BYTES]) && !is_canonical(&[]) && content(&[0xff; COPY_BYTES]).is_none());
    }

    #[test]
    fn a_configuration_of_the_largest_size_fits() {
        let seed = Seed { config: Some(vec![0xff; MAX_CONFIG_BYTES]), ..seed() };
        assert_eq!(decode(&encode(&seed).expect("fits")).map(|decoded| decoded.seed), Ok(seed));
        let seed = Seed { config: Some(vec![0; COPY_BYTES]), ..other() };
        assert!(matches!(encode(&seed), Err(EncodeError::TooLarge { .. })));
    }

    #[test]
    fn a_cut_while_stamping_gives_the_old_seed_or_the_new_one() {
        let (old, new) = (encode(&other()).expect("fits"), encode(&seed()).expect("fits"));
        for cut in [0, 1, 8, 12, 20, 48, 100, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + 20, new.len()] {
            let partition = [&new[..cut], &old[cut..]].concat();
            let decoded = decode(&partition).expect("one copy is whole");
            assert!(decoded.seed == seed() || decoded.seed == other(), "cut at {cut}");
        }
        let between = decode(&[&new[..COPY_BYTES], &old[COPY_BYTES..]].concat()).expect("both are whole");
        assert!(between.differing && between.seed == seed());
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let whole = encode(&seed()).expect("fits");
        let future = forge(2, b"{}");
        let nonsense = forge(VERSION, b"{\"fleet\": 1}");
        let mut long = forge(VERSION, b"{}");
        long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut padded = whole[..COPY_BYTES].to_vec();
        padded[COPY_BYTES - 1] = 1;
        assert_eq!(decode(&whole[1..]), Err(DecodeError::Size { bytes: whole.len() - 1 }));
        assert_eq!(decode(&vec![0; whole.len()]), Err(DecodeError::Blank));
        assert_eq!(decode(&future.repeat(2)), Err(DecodeError::Version { version: 2 }));
        let both = |copy: &[u8]| match decode(&copy.repeat(2)) {
            Err(DecodeError::BothDamaged { first, second }) if first == second => first,
            other => panic!("{other:?}"),
        };
        assert_eq!(both(&[0xff; COPY_BYTES]), Damage::Magic);
        assert_eq!(both(&long), Damage::Length { length: u32::MAX });
        assert_eq!(both(&padded), Damage::Padding);
        assert!(matches!(both(&nonsense), Damage::Content { .. }));
        let keyless = forge(VERSION, br#"{"fleet": {"name": "acme", "keys": []}}"#);
        assert_eq!(both(&keyless), Damage::Content { message: "its fleet has no key".into() });
        padded[60] ^= 1;
        assert_eq!(both(&padded), Damage::Checksum);
    }

    #[test]
    fn an_identity_is_carried_whole() {
        let seed = Seed { identity: Some(IdentitySeed::new([7; 32])), ..seed() };
        let partition = encode(&seed).expect("fits");
        assert!(String::from_utf8_lossy(&partition).contains(r#""identity":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#));
        assert_eq!(decode(&partition).map(|decoded| decoded.seed), Ok(seed));
    }

    #[test]
    fn the_way_to_a_hub_behind_a_proxy_is_carried_whole_and_its_password_shown_to_nobody() {
        let password = Some(Secret::from("pa55word".to_owned()));
        let proxy = HubProxy { url: "http://proxy.example:3128".into(), user: Some("kim".into()), password, pin: None };
        let mut seed = seed();
        let hub = seed.hub.as_mut().expect("it has one");
        (hub.fallbacks, hub.proxy) = (vec!["https://hub-2.example".into()], Some(proxy));
        let partition = encode(&seed).expect("fits");
        assert!(String::from_utf8_lossy(&partition).contains("pa55word"));
        assert!(!seed.masked().to_string().contains("pa55word"));
        assert_eq!(decode(&partition).map(|decoded| decoded.seed), Ok(seed));
    }

    #[test]
    fn what_is_shown_has_no_token_and_no_key() {
        let seed = Seed { identity: Some(IdentitySeed::new([7; 32])), ..seed() };
        let shown = seed.masked().to_string();
        assert!(!shown.contains("hunter2") && !shown.contains("BwcH") && shown.contains("5 bytes"), "{shown}");
        let printed = format!("{seed:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("BwcH") && !printed.contains("YTogMQo="), "{printed}");
    }
}
