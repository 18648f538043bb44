//! From inventory rows and the base's facts to stamps: what each device's SEED holds. Pure; files, randomness and the base are arguments. A stamp is
//! only planned when every row can be: a batch is right as a whole or not begun.

mod error;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use machine_config::schema::Target;
use machine_config::seed::{self, Seed};
use machine_config::types::Secret;
use machine_config::{DeviceId, FleetTrust, IdentitySeed, MachineConfig, SigningKey, Verified};
use zeroize::Zeroizing;

pub use error::PlanError;

use super::inventory::{ConfigChoice, IdentityChoice, Row, Token};
use super::manifest::{DeviceEntry, DeviceFacts, IdentityEntry, SeedEntry, TokenOrigin};
use super::roles;
use crate::board::K3sRole;
use crate::image::digest::Digest;

/// Bytes of a token that is made here, and of a key.
const SECRET_BYTES: usize = 32;

/// What all stamps of a run have in common.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The base's board.
    pub board: &'a str,
    /// What k3s may be on that board.
    pub k3s_roles: &'a [K3sRole],
    /// Whom the devices obey.
    pub fleet: &'a FleetTrust,
    /// The configurations that rows name, each judged for this fleet.
    pub configs: &'a BTreeMap<PathBuf, Verified<MachineConfig>>,
    /// The configuration of every row that names none, with its file.
    pub common_config: Option<(&'a Path, &'a Verified<MachineConfig>)>,
    /// The keys that rows name.
    pub identities: &'a BTreeMap<PathBuf, SigningKey>,
}

/// One device's stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What the manifest says of it.
    pub facts: DeviceFacts,
    seed: Seed,
}

impl Stamp {
    /// The content of SEED, the whole partition.
    pub fn seed(&self) -> Vec<u8> {
        seed::encode(&self.seed).expect("it was encoded when the stamp was planned")
    }

    /// The token that was made for it, if one was.
    pub fn made_token(&self) -> Option<&Secret> {
        self.seed.join_token.as_ref().filter(|_| self.facts.seed.join_token == TokenOrigin::Made)
    }
}

/// What random bytes are for. Bytes for one purpose are never given for another: a token is told to the hub, a key to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A join token.
    Token,
    /// The key that a device is.
    Identity,
}

impl Purpose {
    /// Its name, as derivations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identity => "identity",
        }
    }
}

/// The stamps of these rows, in their order. `random` fills what it is given with random bytes for a purpose.
///
/// # Errors
/// See [`PlanError`]; the first row that cannot be stamped is the one told.
pub fn plan(
    rows: &[Row],
    facts: &Facts<'_>,
    mut random: impl FnMut(Purpose, &mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<Vec<Stamp>, PlanError> {
    let mut random = |purpose| {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        random(purpose, bytes.as_mut_slice()).map_err(PlanError::Random)?;
        Ok(bytes)
    };
    check_identities(rows, facts.identities)?;
    rows.iter().map(|row| stamp(row, facts, &mut random)).collect()
}

/// Fresh random bytes, wiped when they go.
type Random<'a> = &'a mut dyn FnMut(Purpose) -> Result<Zeroizing<[u8; SECRET_BYTES]>, PlanError>;

fn stamp(row: &Row, facts: &Facts<'_>, random: Random<'_>) -> Result<Stamp, PlanError> {
    let name = || row.name.to_string();
    if row.board != facts.board {
        let (wanted, board) = (row.board.clone(), facts.board.to_owned());
        return Err(PlanError::Board { line: row.line, name: name(), wanted, board });
    }
    let (join_token, origin) = token(&row.token, random)?;
    let identity = identity(row, facts, random)?;
    let device_id = identity.as_ref().map(IdentitySeed::device_id);
    let config = config(row, facts, device_id.as_ref())?;
    let seed = Seed {
        fleet: facts.fleet.clone(),
        hub: row.hub.clone(),
        join_token,
        device_name: Some(row.name.clone()),
        config: config.map(|config| config.bytes().to_vec()),
        identity,
    };
    let encoded = seed::encode(&seed).map_err(|source| PlanError::Encode { line: row.line, name: name(), source })?;
    let entry = SeedEntry {
        sha256: Digest::of(seed::content(&encoded).expect("it was encoded a moment ago")),
        fleet: facts.fleet.name.clone(),
        hub: row.hub.as_ref().map(|hub| hub.url.clone()),
        join_token: origin,
        join_token_sha256: join_token_sha256(seed.join_token.as_ref(), origin),
        config_sha256: seed.config.as_deref().map(Digest::of),
    };
    let Row { name, serial, mac, labels, .. } = row.clone();
    let device = DeviceEntry { name, serial, mac, labels };
    let identity = device_id.map(|device_id| IdentityEntry { device_id });
    Ok(Stamp { facts: DeviceFacts { seed: entry, device, identity }, seed })
}

fn token(token: &Token, random: Random<'_>) -> Result<(Option<Secret>, TokenOrigin), PlanError> {
    match token {
        Token::None => Ok((None, TokenOrigin::None)),
        Token::Given(secret) => Ok((Some(secret.clone()), TokenOrigin::Inventory)),
        Token::Auto => Ok((Some(Secret::from(hex::encode(random(Purpose::Token)?))), TokenOrigin::Made)),
    }
}

/// Only of a token that was made: nobody finds it by trying.
fn join_token_sha256(token: Option<&Secret>, origin: TokenOrigin) -> Option<Digest> {
    match origin {
        TokenOrigin::Made => token.map(|token| Digest::of(token.expose().as_bytes())),
        TokenOrigin::None | TokenOrigin::Inventory => None,
    }
}

fn identity(row: &Row, facts: &Facts<'_>, random: Random<'_>) -> Result<Option<IdentitySeed>, PlanError> {
    match &row.identity {
        IdentityChoice::Own => Ok(None),
        IdentityChoice::Auto => Ok(Some(IdentitySeed::new(*random(Purpose::Identity)?))),
        IdentityChoice::Given(path) => match facts.identities.get(path) {
            Some(key) => Ok(Some(IdentitySeed::new(key.to_bytes()))),
            None => Err(PlanError::Unread { line: row.line, name: row.name.to_string(), path: path.clone() }),
        },
    }
}

/// A device is its key: two with one key are one to everybody. For all rows of an inventory at once, whatever their boards.
///
/// # Errors
/// [`PlanError::SharedIdentity`].
pub fn check_identities(rows: &[Row], identities: &BTreeMap<PathBuf, SigningKey>) -> Result<(), PlanError> {
    let mut seen = HashMap::new();
    for row in rows {
        let Some(key) = row.identity.file().and_then(|path| identities.get(path)) else { continue };
        if let Some(first) = seen.insert(key.verifying_key().to_bytes(), row.line) {
            return Err(PlanError::SharedIdentity { line: row.line, name: row.name.to_string(), first });
        }
    }
    Ok(())
}

/// The row's configuration, once it is for this device as far as a row can tell.
fn config<'a>(
    row: &Row,
    facts: &Facts<'a>,
    device_id: Option<&DeviceId>,
) -> Result<Option<&'a Verified<MachineConfig>>, PlanError> {
    let (line, name) = (row.line, || row.name.to_string());
    let (path, config) = match &row.config {
        ConfigChoice::None => return Ok(None),
        ConfigChoice::Unsaid => match facts.common_config {
            Some((path, config)) => (path, config),
            None => return Ok(None),
        },
        ConfigChoice::Given(path) => match facts.configs.get(path) {
            Some(config) => (path.as_path(), config),
            None => return Err(PlanError::Unread { line, name: name(), path: path.clone() }),
        },
    };
    let path = || path.to_owned();
    if let Some((wanted, actual)) = mismatch(config.content(), row, device_id) {
        return Err(PlanError::Target { line, name: name(), path: path(), wanted, actual });
    }
    match roles::refused(config.content(), facts.k3s_roles) {
        Some(role) => {
            let (board, roles) = (facts.board.to_owned(), facts.k3s_roles.to_vec());
            Err(PlanError::Role { line, name: name(), path: path(), wanted: role.as_str(), board, roles })
        }
        None => Ok(Some(config)),
    }
}

/// What a configuration asks for and what the row has instead. A row that does not say is no mismatch: the device judges for itself. A
/// configuration for one device must also have that device's name; one for any device may be shared.
fn mismatch(config: &MachineConfig, row: &Row, device_id: Option<&DeviceId>) -> Option<(String, String)> {
    let Target { serial, device_id: wanted_id, mac, any } = &config.target;
    let differs = |what: &str, wanted: Option<&str>, actual: Option<&str>| match (wanted, actual) {
        (Some(wanted), Some(actual)) if wanted != actual => Some((format!("the {what} {wanted}"), actual.to_owned())),
        (Some(_), Some(_)) | (Some(_), None) | (None, _) => None,
    };
    let name = (*any != Some(true)).then(|| config.metadata.name.as_str());
    differs("serial number", serial.as_deref(), row.serial.as_deref())
        .or_else(|| differs("MAC address", mac.as_ref().map(|mac| mac.as_str()), row.mac.as_ref().map(|mac| mac.as_str())))
        .or_else(|| differs("device id", wanted_id.as_ref().map(DeviceId::as_str), device_id.map(DeviceId::as_str)))
        .or_else(|| differs("device", name, Some(row.name.as_str())))
}

#[cfg(test)]
mod tests;
