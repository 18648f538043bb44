//! The judgement: whether a device takes a file as its configuration. Every way to a device (LAN, hub, SEED, USB stick, STATE at boot)
//! ends here, and the checks run in one order: size, UTF-8, envelope, key, signature, schema, fleet, target, generation, semantics.

use serde::{Deserialize, Serialize};

use crate::envelope::EnvelopeError;
use crate::key::Keyring;
use crate::parse::{self, ParseError, Position};
use crate::refusal_code::RefusalCode;
use crate::schema::{MachineConfig, Target};
use crate::semantics::{SemanticError, check_semantics};
use crate::text::{self, MAX_CONFIG_BYTES, TextError};
use crate::types::{DeviceId, Digest, DnsName, Generation, MacAddress};
use crate::verify::{Unverified, Verified, VerifyError};

/// Whom a device obeys: its fleet's name and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The fleet's name.
    pub fleet: DnsName,
    /// The keys that sign for it.
    pub keyring: Keyring,
}

/// What a configuration's target is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Hash of the device's own key.
    pub device_id: DeviceId,
    /// Serial numbers the firmware gives: system, board, chassis.
    pub serials: Vec<String>,
    /// MAC addresses of all wired links.
    pub macs: Vec<MacAddress>,
}

/// What the device accepted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Accepted {
    /// Its generation.
    pub generation: Generation,
    /// SHA-256 of its file.
    pub digest: Digest,
}

impl Accepted {
    /// What to remember of a configuration that is being accepted.
    pub fn of(config: &Verified<MachineConfig>) -> Self {
        Self { generation: config.content().metadata.generation, digest: config.digest().clone() }
    }
}

/// Why a file is not taken. `Display` says what was found, what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too large.
    #[error("refused: the configuration has {bytes} bytes, more than {MAX_CONFIG_BYTES}; make it smaller")]
    Size {
        /// How many there are.
        bytes: usize,
    },
    /// Not text.
    #[error("refused: the configuration is not UTF-8 at byte {offset}; save it as UTF-8 and sign it again")]
    Utf8 {
        /// Bytes before the first wrong one.
        offset: usize,
    },
    /// Not one document with one signature.
    #[error("refused: {0}")]
    Envelope(EnvelopeError),
    /// Signed by nobody this device obeys, or changed since.
    #[error("refused: {0}")]
    Unproven(VerifyError),
    /// Not a configuration.
    #[error("refused: {0}")]
    Schema(ParseError),
    /// Another fleet's.
    #[error("refused: it is for the fleet `{found}`, this device belongs to `{expected}`")]
    Fleet {
        /// The configuration's.
        found: DnsName,
        /// The device's.
        expected: DnsName,
    },
    /// Another device's.
    #[error("refused: it is for {wanted}, this device has {actual}; send the one made for it")]
    Target {
        /// What the configuration asks for.
        wanted: String,
        /// What the device has instead.
        actual: String,
    },
    /// Older than what the device accepted.
    #[error(
        "refused: its generation {found} is older than {accepted}, accepted before; raise `metadata.generation` above {accepted}"
    )]
    GenerationOlder {
        /// The configuration's.
        found: Generation,
        /// The device's.
        accepted: Generation,
    },
    /// As old as what the device accepted, but another file.
    #[error(
        "refused: generation {generation} was accepted before with other content; raise `metadata.generation` above {generation}"
    )]
    GenerationConflict {
        /// Of both.
        generation: Generation,
    },
    /// It contradicts itself or means nothing.
    #[error("refused: {}", list(.0))]
    Semantics(Vec<SemanticError>),
}

fn list(errors: &[SemanticError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Refusal {
    /// A stable name for programs: it travels in the API's error metadata.
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Which check failed.
    pub fn kind(&self) -> RefusalCode {
        match self {
            Self::Size { .. } => RefusalCode::Size,
            Self::Utf8 { .. } => RefusalCode::Utf8,
            Self::Envelope(_) => RefusalCode::Envelope,
            Self::Unproven(VerifyError::KeyUnknown { .. }) => RefusalCode::KeyUnknown,
            Self::Unproven(VerifyError::Signature { .. }) => RefusalCode::Signature,
            Self::Schema(_) => RefusalCode::Schema,
            Self::Fleet { .. } => RefusalCode::Fleet,
            Self::Target { .. } => RefusalCode::Target,
            Self::GenerationOlder { .. } => RefusalCode::GenerationOlder,
            Self::GenerationConflict { .. } => RefusalCode::GenerationConflict,
            Self::Semantics(_) => RefusalCode::Semantics,
        }
    }

    /// Where in the file, if the reason has a place.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Envelope(error) => error.line().map(|line| Position { line, column: 1 }),
            Self::Schema(error) => error.position(),
            Self::Size { .. }
            | Self::Utf8 { .. }
            | Self::Unproven(_)
            | Self::Fleet { .. }
            | Self::Target { .. }
            | Self::GenerationOlder { .. }
            | Self::GenerationConflict { .. }
            | Self::Semantics(_) => None,
        }
    }
}

impl From<TextError> for Refusal {
    fn from(error: TextError) -> Self {
        match error {
            TextError::TooLarge { bytes } => Self::Size { bytes },
            TextError::NotUtf8 { offset } => Self::Utf8 { offset },
        }
    }
}

/// Whether this device takes these bytes as its configuration.
///
/// `accepted` is what it accepted last; the same bytes are taken again, anything else must have a greater generation. The caller records
/// the acceptance durably before it acts on the result.
///
/// # Errors
/// A [`Refusal`] for the first check that fails.
pub fn judge(
    bytes: &[u8],
    trust: &Trust,
    facts: &DeviceFacts,
    accepted: Option<&Accepted>,
) -> Result<Verified<MachineConfig>, Refusal> {
    let config = authentic(bytes, &trust.keyring)?;
    check_fleet(config.content(), &trust.fleet)?;
    check_target(&config.content().target, facts)?;
    check_generation(&Accepted::of(&config), accepted)?;
    check_semantics(config.content()).map_err(Refusal::Semantics)?;
    Ok(config)
}

/// Whether some device of this fleet would take these bytes: all checks but target and generation, which only a device can make.
///
/// # Errors
/// A [`Refusal`] for the first check that fails.
pub fn judge_for_fleet(bytes: &[u8], trust: &Trust) -> Result<Verified<MachineConfig>, Refusal> {
    let config = authentic(bytes, &trust.keyring)?;
    check_fleet(config.content(), &trust.fleet)?;
    check_semantics(config.content()).map_err(Refusal::Semantics)?;
    Ok(config)
}

/// From bytes to a configuration that a key of the ring signed: size, UTF-8, envelope, key, signature, schema.
fn authentic(bytes: &[u8], keyring: &Keyring) -> Result<Verified<MachineConfig>, Refusal> {
    let file = text::read(bytes)?;
    let document = Unverified::split(file).map_err(Refusal::Envelope)?.verify(keyring).map_err(Refusal::Unproven)?;
    document.try_map(|document| parse::parse(document.as_str().as_bytes()).map_err(Refusal::Schema))
}

fn check_fleet(config: &MachineConfig, expected: &DnsName) -> Result<(), Refusal> {
    let found = &config.metadata.fleet;
    if found == expected { Ok(()) } else { Err(Refusal::Fleet { found: found.clone(), expected: expected.clone() }) }
}

/// Every field that is set must match, so that a target with several (which `check_semantics` refuses) opens no way around.
fn check_target(target: &Target, facts: &DeviceFacts) -> Result<(), Refusal> {
    let Target { serial, device_id, mac, any } = target;
    let refuse = |wanted: String, actual: String| Err(Refusal::Target { wanted, actual });
    if let Some(serial) = serial.as_ref().filter(|serial| !facts.serials.contains(serial)) {
        return refuse(format!("the serial number `{serial}`"), one_of("serial number", &facts.serials));
    }
    if let Some(id) = device_id.as_ref().filter(|id| **id != facts.device_id) {
        return refuse(format!("the device id {id}"), facts.device_id.to_string());
    }
    if let Some(mac) = mac.as_ref().filter(|mac| !facts.macs.contains(mac)) {
        let macs: Vec<String> = facts.macs.iter().map(ToString::to_string).collect();
        return refuse(format!("the MAC address {mac}"), one_of("MAC address", &macs));
    }
    let named = serial.is_some() || device_id.is_some() || mac.is_some();
    if named || *any == Some(true) {
        Ok(())
    } else {
        refuse("no device: `target` names none".into(), facts.device_id.to_string())
    }
}

fn one_of(what: &str, values: &[String]) -> String {
    if values.is_empty() { format!("no {what}") } else { values.join(", ") }
}

fn check_generation(offered: &Accepted, accepted: Option<&Accepted>) -> Result<(), Refusal> {
    let Some(accepted) = accepted else { return Ok(()) };
    let (found, last) = (offered.generation, accepted.generation);
    if found < last {
        return Err(Refusal::GenerationOlder { found, accepted: last });
    }
    if found == last && offered.digest != accepted.digest {
        return Err(Refusal::GenerationConflict { generation: found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::key::PublicKey;
    use crate::sign::sign;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn trust() -> Trust {
        let key = PublicKey::try_from(key(1).verifying_key()).expect("strong");
        Trust { fleet: "acme".parse().expect("a name"), keyring: Keyring::new([key]) }
    }

    fn facts() -> DeviceFacts {
        let device_id = DeviceId::of(&key(9).verifying_key());
        DeviceFacts {
            device_id,
            serials: vec!["S1".into(), "S2".into()],
            macs: vec!["52:54:00:12:34:56".parse().expect("a MAC")],
        }
    }

    const API: &str = "api: {clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}\n";

    fn file(fleet: &str, generation: u64, target: &str, more: &str) -> Vec<u8> {
        let api = if more.contains("api:") { "" } else { API };
        let document = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\n\
             metadata: {{name: a, fleet: {fleet}, generation: {generation}}}\ntarget: {{{target}}}\n{api}{more}"
        );
        sign(document.as_bytes(), &key(1)).expect("signs")
    }

    fn code(file: &[u8], accepted: Option<&Accepted>) -> &'static str {
        judge(file, &trust(), &facts(), accepted).map_or_else(|refusal| refusal.code(), |_| "accepted")
    }

    /// Each file fails the named check and every one after it, so that the order is what is tested.
    #[test]
    fn the_first_check_that_fails_names_the_refusal() {
        let accepted = Accepted { generation: Generation::try_from(7).expect("not zero"), digest: Digest::of(b"") };
        let nonsense = "api: {port: 0}\n";
        let good = file("acme", 8, "serial: S1", "");
        let cases = [
            (vec![0xff; MAX_CONFIG_BYTES + 1], "size"),
            (vec![0xff; 10], "utf8"),
            (b"nonsense".to_vec(), "envelope"),
            (sign(b"nonsense", &key(2)).expect("signs"), "key-unknown"),
            (
                String::from_utf8(sign(b"nonsense", &key(1)).expect("signs")).expect("text").replace("nons", "sens").into(),
                "signature",
            ),
            (sign(b"nonsense", &key(1)).expect("signs"), "schema"),
            (file("evil", 6, "serial: X", nonsense), "fleet"),
            (file("acme", 6, "serial: X", nonsense), "target"),
            (file("acme", 6, "serial: S1", nonsense), "generation-older"),
            (file("acme", 7, "serial: S1", nonsense), "generation-conflict"),
            (file("acme", 8, "serial: S1", nonsense), "semantics"),
            (good, "accepted"),
        ];
        for (file, expected) in cases {
            assert_eq!(code(&file, Some(&accepted)), expected);
        }
    }

    #[test]
    fn the_bytes_accepted_last_are_accepted_again() {
        let file = file("acme", 7, "any: true", "");
        let first = judge(&file, &trust(), &facts(), None).expect("nothing was accepted before");
        assert_eq!(code(&file, Some(&Accepted::of(&first))), "accepted");
    }

    #[test]
    fn a_device_is_named_by_any_serial_its_id_or_any_mac() {
        let id = format!("deviceId: {}", facts().device_id);
        for target in ["serial: S1", "serial: S2", "mac: 52:54:00:12:34:56", "any: true", &id] {
            assert_eq!(code(&file("acme", 1, target, ""), None), "accepted", "{target}");
        }
        for target in ["serial: s1", "serial: \"S1 \"", "mac: 52:54:00:12:34:57", "serial: \"\"", "any: false", ""] {
            assert_eq!(code(&file("acme", 1, target, ""), None), "target", "{target}");
        }
    }

    #[test]
    fn an_empty_ring_obeys_nobody() {
        let nobody = Trust { keyring: Keyring::default(), ..trust() };
        let refusal = judge(&file("acme", 1, "any: true", ""), &nobody, &facts(), None).expect_err("nobody signed it");
        assert_eq!(refusal.code(), "key-unknown");
        assert!(refusal.to_string().contains("knows none"), "{refusal}");
    }

    #[test]
    fn the_fleet_judges_without_a_device() {
        assert!(judge_for_fleet(&file("acme", 1, "serial: elsewhere", ""), &trust()).is_ok());
        assert_eq!(judge_for_fleet(&file("evil", 1, "any: true", ""), &trust()).map_err(|refusal| refusal.code()), Err("fleet"));
    }

    #[test]
    fn what_was_accepted_is_remembered_in_these_words() {
        let accepted = Accepted { generation: Generation::try_from(7).expect("not zero"), digest: Digest::of(b"") };
        let json = serde_json::to_string(&accepted).expect("JSON");
        assert_eq!(json, format!("{{\"generation\":7,\"digest\":\"{}\"}}", Digest::of(b"")));
        assert_eq!(serde_json::from_str::<Accepted>(&json).ok(), Some(accepted));
    }
}
