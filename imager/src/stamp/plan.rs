//! From inventory rows and the base's facts to stamps: what each device's SEED holds. Pure; files, randomness and the base are arguments. A stamp is
//! only planned when every row can be: a batch is right as a whole or not begun.

use std::collections::BTreeMap;
use std::path::PathBuf;

use machine_config::schema::Target;
use machine_config::seed::{self, EncodeError, Seed};
use machine_config::types::Secret;
use machine_config::{FleetTrust, MachineConfig, Verified};

use super::inventory::{Row, Token};
use super::manifest::{DeviceEntry, SeedEntry, TokenOrigin};
use crate::image::digest::Digest;

/// Bytes of a token that is made here.
const TOKEN_BYTES: usize = 32;

/// What all stamps of a run have in common.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The base's board.
    pub board: &'a str,
    /// Whom the devices obey.
    pub fleet: &'a FleetTrust,
    /// The configurations that rows name, each judged for this fleet.
    pub configs: &'a BTreeMap<PathBuf, Verified<MachineConfig>>,
}

/// Why a row is not stamped.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A device of another sort.
    #[error("cannot stamp {name} (line {line}): it is a `{wanted}`, the base is for `{board}`; use the base of its board")]
    Board {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The row's board.
        wanted: String,
        /// The base's.
        board: String,
    },
    /// A configuration for another device.
    #[error(
        "cannot stamp {name} (line {line}): {} is for {wanted}, this device has {actual}; name the one made for it", path.display()
    )]
    Target {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration.
        path: PathBuf,
        /// What it asks for.
        wanted: String,
        /// What the row has.
        actual: String,
    },
    /// A configuration nobody has judged.
    #[error("cannot stamp {name} (line {line}): {} was not read", path.display())]
    NoConfig {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration.
        path: PathBuf,
    },
    /// SEED cannot hold it.
    #[error("cannot stamp {name} (line {line})")]
    Encode {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// Why.
        source: EncodeError,
    },
    /// There is nothing random to make a token of.
    #[error("cannot make a join token: the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// One device's stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The device, as the manifest has it.
    pub device: DeviceEntry,
    /// SEED, as the manifest has it.
    pub entry: SeedEntry,
    seed: Seed,
}

impl Stamp {
    /// The content of SEED, the whole partition.
    pub fn seed(&self) -> Vec<u8> {
        seed::encode(&self.seed).expect("it was encoded when the stamp was planned")
    }

    /// The token that was made for it, if one was.
    pub fn made_token(&self) -> Option<&Secret> {
        self.seed.join_token.as_ref().filter(|_| self.entry.join_token == TokenOrigin::Made)
    }
}

/// The stamps of these rows, in their order. `random` fills what it is given with random bytes.
///
/// # Errors
/// See [`PlanError`]; the first row that cannot be stamped is the one told.
pub fn plan(
    rows: &[Row],
    facts: &Facts<'_>,
    mut random: impl FnMut(&mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<Vec<Stamp>, PlanError> {
    rows.iter().map(|row| stamp(row, facts, &mut random)).collect()
}

fn stamp(
    row: &Row,
    facts: &Facts<'_>,
    random: &mut impl FnMut(&mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<Stamp, PlanError> {
    let name = || row.name.to_string();
    if row.board != facts.board {
        let (wanted, board) = (row.board.clone(), facts.board.to_owned());
        return Err(PlanError::Board { line: row.line, name: name(), wanted, board });
    }
    let (join_token, origin) = token(&row.token, random)?;
    let config = config(row, facts)?;
    let seed = Seed {
        fleet: facts.fleet.clone(),
        hub: row.hub.clone(),
        join_token,
        device_name: Some(row.name.clone()),
        config: config.map(|config| config.bytes().to_vec()),
        identity: None,
    };
    let encoded = seed::encode(&seed).map_err(|source| PlanError::Encode { line: row.line, name: name(), source })?;
    let entry = SeedEntry {
        sha256: Digest::of(&encoded),
        fleet: facts.fleet.name.clone(),
        hub: row.hub.as_ref().map(|hub| hub.url.clone()),
        join_token: origin,
        config_sha256: seed.config.as_deref().map(Digest::of),
    };
    let Row { name, serial, mac, labels, .. } = row.clone();
    Ok(Stamp { device: DeviceEntry { name, serial, mac, labels }, entry, seed })
}

fn token(
    token: &Token,
    random: &mut impl FnMut(&mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<(Option<Secret>, TokenOrigin), PlanError> {
    match token {
        Token::None => Ok((None, TokenOrigin::None)),
        Token::Given(secret) => Ok((Some(secret.clone()), TokenOrigin::Inventory)),
        Token::Auto => {
            let mut bytes = [0; TOKEN_BYTES];
            random(&mut bytes).map_err(PlanError::Random)?;
            Ok((Some(Secret::from(hex::encode(bytes))), TokenOrigin::Made))
        }
    }
}

/// The row's configuration, once it is for this device as far as a row can tell.
fn config<'a>(row: &Row, facts: &Facts<'a>) -> Result<Option<&'a Verified<MachineConfig>>, PlanError> {
    let Some(path) = &row.config else { return Ok(None) };
    let (line, name) = (row.line, row.name.to_string());
    let Some(config) = facts.configs.get(path) else {
        return Err(PlanError::NoConfig { line, name, path: path.clone() });
    };
    match mismatch(config.content(), row) {
        Some((wanted, actual)) => Err(PlanError::Target { line, name, path: path.clone(), wanted, actual }),
        None => Ok(Some(config)),
    }
}

/// What a configuration asks for and what the row has instead. A row that does not say is no mismatch: the device judges for itself. A
/// configuration for one device must also have that device's name; one for any device may be shared.
fn mismatch(config: &MachineConfig, row: &Row) -> Option<(String, String)> {
    let Target { serial, device_id: _, mac, any } = &config.target;
    let differs = |what: &str, wanted: Option<&str>, actual: Option<&str>| match (wanted, actual) {
        (Some(wanted), Some(actual)) if wanted != actual => Some((format!("the {what} {wanted}"), actual.to_owned())),
        (Some(_), Some(_)) | (Some(_), None) | (None, _) => None,
    };
    let name = (*any != Some(true)).then(|| config.metadata.name.as_str());
    differs("serial number", serial.as_deref(), row.serial.as_deref())
        .or_else(|| differs("MAC address", mac.as_ref().map(|mac| mac.as_str()), row.mac.as_ref().map(|mac| mac.as_str())))
        .or_else(|| differs("device", name, Some(row.name.as_str())))
}

#[cfg(test)]
mod tests {
    use machine_config::judge_for_fleet;

    use super::*;
    use crate::stamp::inventory;
    use crate::stamp::testing::{self, fleet};

    fn config(name: &str, target: &str) -> Verified<MachineConfig> {
        judge_for_fleet(&testing::config(name, target, "acme", 1), &fleet(1).trust()).expect("good")
    }

    fn planned(rows: &str, configs: &BTreeMap<PathBuf, Verified<MachineConfig>>) -> Result<Vec<Stamp>, PlanError> {
        let pin = "ab".repeat(32);
        let text =
            format!("name,serial,mac,board,config,join_token,hub,hub_pin\n{}", rows.replace("HUB", &format!("https://h,{pin}")));
        let rows = inventory::parse(text.as_bytes()).expect("good rows");
        let mut next = 0;
        let random = |bytes: &mut [u8]| {
            next += 1;
            bytes.fill(next);
            Ok(())
        };
        plan(&rows, &Facts { board: "nuc", fleet: &fleet(1), configs }, random)
    }

    #[test]
    fn each_stamp_holds_its_row_and_no_other() {
        let configs = BTreeMap::from([(PathBuf::from("a.yaml"), config("a", "serial: S1"))]);
        let stamps = planned("a,S1,,nuc,a.yaml,auto,HUB\nb,,,nuc,,auto,HUB\nc,,,nuc,,this-is-a-token-by-hand,HUB\n", &configs)
            .expect("planned");
        let seed = |index: usize| seed::decode(&stamps[index].seed()).expect("decoded").seed;
        assert_eq!(seed(0).config.as_deref(), Some(configs[&PathBuf::from("a.yaml")].bytes()));
        assert_eq!(seed(0).join_token, Some(Secret::from("01".repeat(32))));
        assert_eq!(seed(1).join_token, Some(Secret::from("02".repeat(32))));
        assert_eq!(seed(1).config, None);
        assert_eq!((seed(2).device_name.map(String::from), seed(2).fleet), (Some("c".into()), fleet(1)));
        assert_eq!(stamps[1].made_token().map(Secret::expose), Some("02".repeat(32).as_str()));
        assert_eq!(stamps[2].made_token(), None);
        assert_eq!(stamps[0].entry.sha256, Digest::of(&stamps[0].seed()));
        assert!(!format!("{stamps:?}").contains("0202"));
    }

    #[test]
    fn a_device_of_another_board_is_refused() {
        let error = planned("a,,,nuc,,,,\nb,,,rpi4,,,,\n", &BTreeMap::new()).expect_err("refused").to_string();
        assert_eq!(error, "cannot stamp b (line 3): it is a `rpi4`, the base is for `nuc`; use the base of its board");
    }

    #[test]
    fn a_configuration_for_another_device_is_refused_where_a_row_can_tell() {
        let id = "ab".repeat(32);
        let mac = "52:54:00:00:00:01";
        for (name, target, row, refused) in [
            ("a", "serial: S1", "a,S1,,nuc,c,,,", None),
            ("a", "serial: S2", "a,S1,,nuc,c,,,", Some("is for the serial number S2, this device has S1")),
            ("a", "serial: S2", "a,,,nuc,c,,,", None),
            ("b", "serial: S1", "a,S1,,nuc,c,,,", Some("is for the device b, this device has a")),
            ("a", &format!("mac: \"{mac}\""), &format!("a,,{mac},nuc,c,,,"), None),
            ("a", &format!("mac: \"{mac}\""), "a,,52:54:00:00:00:02,nuc,c,,,", Some("is for the MAC address 52:54:00:00:00:01")),
            ("b", &format!("deviceId: {id}"), "a,,,nuc,c,,,", Some("is for the device b")),
            ("shared", "any: true", "a,S1,,nuc,c,,,", None),
        ] {
            let configs = BTreeMap::from([(PathBuf::from("c"), config(name, target))]);
            match (planned(&format!("{row}\n"), &configs), refused) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (other, _) => panic!("{target}, {row}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_configuration_that_was_not_read_is_not_left_out() {
        assert!(matches!(planned("a,,,nuc,c,,,\n", &BTreeMap::new()), Err(PlanError::NoConfig { .. })));
    }
}
