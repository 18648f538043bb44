//! From inventory rows and the base's facts to stamps: what each device's SEED holds. Pure; files, randomness and the base are arguments. A stamp is
//! only planned when every row can be: a batch is right as a whole or not begun.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use machine_config::schema::Target;
use machine_config::seed::{self, EncodeError, Seed};
use machine_config::types::Secret;
use machine_config::{DeviceId, FleetTrust, IdentitySeed, MachineConfig, SigningKey, Verified};
use zeroize::Zeroizing;

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
    /// A configuration that makes of the board what it is too weak for.
    #[error("cannot stamp {name} (line {line}): {} makes it a k3s {wanted}, {}", path.display(), roles::allowed(board, roles))]
    Role {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration.
        path: PathBuf,
        /// What it asks for.
        wanted: &'static str,
        /// The base's board.
        board: String,
        /// What that board may be.
        roles: Vec<K3sRole>,
    },
    /// A file nobody has read.
    #[error("cannot stamp {name} (line {line}): {} was not read", path.display())]
    Unread {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration or key.
        path: PathBuf,
    },
    /// Two devices with one key.
    #[error("cannot stamp {name} (line {line}): the device at line {first} has the same key; each device has its own")]
    SharedIdentity {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// Line of the other one.
        first: usize,
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
    /// There is nothing random to make a token or a key of.
    #[error("cannot make a join token or a key: the system gives no random bytes")]
    Random(#[source] getrandom::Error),
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

/// The stamps of these rows, in their order. `random` fills what it is given with random bytes.
///
/// # Errors
/// See [`PlanError`]; the first row that cannot be stamped is the one told.
pub fn plan(
    rows: &[Row],
    facts: &Facts<'_>,
    mut random: impl FnMut(&mut [u8]) -> Result<(), getrandom::Error>,
) -> Result<Vec<Stamp>, PlanError> {
    let mut random = || {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        random(bytes.as_mut_slice()).map_err(PlanError::Random)?;
        Ok(bytes)
    };
    let stamps = rows.iter().map(|row| stamp(row, facts, &mut random)).collect::<Result<Vec<_>, _>>()?;
    check_identities(rows, &stamps)?;
    Ok(stamps)
}

/// Fresh random bytes, wiped when they go.
type Random<'a> = &'a mut dyn FnMut() -> Result<Zeroizing<[u8; SECRET_BYTES]>, PlanError>;

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
        Token::Auto => Ok((Some(Secret::from(hex::encode(random()?))), TokenOrigin::Made)),
    }
}

fn identity(row: &Row, facts: &Facts<'_>, random: Random<'_>) -> Result<Option<IdentitySeed>, PlanError> {
    match &row.identity {
        IdentityChoice::Own => Ok(None),
        IdentityChoice::Auto => Ok(Some(IdentitySeed::new(*random()?))),
        IdentityChoice::Given(path) => match facts.identities.get(path) {
            Some(key) => Ok(Some(IdentitySeed::new(key.to_bytes()))),
            None => Err(PlanError::Unread { line: row.line, name: row.name.to_string(), path: path.clone() }),
        },
    }
}

/// A device is its key: two with one key are one to everybody.
fn check_identities(rows: &[Row], stamps: &[Stamp]) -> Result<(), PlanError> {
    let mut seen = HashMap::new();
    for (row, stamp) in rows.iter().zip(stamps) {
        let Some(identity) = &stamp.facts.identity else { continue };
        if let Some(first) = seen.insert(identity.device_id.as_str(), row.line) {
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
mod tests {
    use machine_config::judge_for_fleet;

    use super::*;
    use crate::stamp::inventory;
    use crate::stamp::testing::{self, fleet};

    fn config(name: &str, target: &str) -> Verified<MachineConfig> {
        judge_for_fleet(&testing::config(name, target, "acme", 1), &fleet(1).trust()).expect("good")
    }

    type Configs = BTreeMap<PathBuf, Verified<MachineConfig>>;

    const HEADER: &str = "name,serial,mac,board,config,join_token,hub,hub_pin";
    const BOTH: [K3sRole; 2] = [K3sRole::Server, K3sRole::Agent];

    /// What rows stand on.
    struct Ground {
        configs: Configs,
        common: Option<Verified<MachineConfig>>,
        identities: BTreeMap<PathBuf, SigningKey>,
        roles: Vec<K3sRole>,
    }

    impl Ground {
        fn with(configs: Configs) -> Self {
            Self { configs, common: None, identities: BTreeMap::new(), roles: BOTH.to_vec() }
        }

        /// The stamps of rows under a header; the random bytes are ones, then twos.
        fn plan(&self, header: &str, rows: &str) -> Result<Vec<Stamp>, PlanError> {
            let pin = "ab".repeat(32);
            let text = format!("{header}\n{}", rows.replace("HUB", &format!("https://h,{pin}")));
            let rows = inventory::parse(text.as_bytes()).expect("good rows");
            let mut next = 0;
            let random = |bytes: &mut [u8]| {
                next += 1;
                bytes.fill(next);
                Ok(())
            };
            let common_config = self.common.as_ref().map(|config| (Path::new("common.yaml"), config));
            let Self { configs, identities, roles, .. } = self;
            let facts = Facts { board: "nuc", k3s_roles: roles, fleet: &fleet(1), configs, common_config, identities };
            plan(&rows, &facts, random)
        }
    }

    fn planned(rows: &str, configs: Configs) -> Result<Vec<Stamp>, PlanError> {
        Ground::with(configs).plan(HEADER, rows)
    }

    #[test]
    fn each_stamp_holds_its_row_and_no_other() {
        let configs = BTreeMap::from([(PathBuf::from("a.yaml"), config("a", "serial: S1"))]);
        let stamps =
            planned("a,S1,,nuc,a.yaml,auto,HUB\nb,,,nuc,,auto,HUB\nc,,,nuc,,this-is-a-token-by-hand,HUB\n", configs.clone())
                .expect("planned");
        let seed = |index: usize| seed::decode(&stamps[index].seed()).expect("decoded").seed;
        assert_eq!(seed(0).config.as_deref(), Some(configs[&PathBuf::from("a.yaml")].bytes()));
        assert_eq!(seed(0).join_token, Some(Secret::from("01".repeat(32))));
        assert_eq!(seed(1).join_token, Some(Secret::from("02".repeat(32))));
        assert_eq!(seed(1).config, None);
        assert_eq!((seed(2).device_name.map(String::from), seed(2).fleet), (Some("c".into()), fleet(1)));
        assert_eq!(stamps[1].made_token().map(Secret::expose), Some("02".repeat(32).as_str()));
        assert_eq!(stamps[2].made_token(), None);
        assert_eq!(Some(stamps[0].facts.seed.sha256), seed::content(&stamps[0].seed()).map(Digest::of));
        assert!(!format!("{stamps:?}").contains("0202"));
    }

    #[test]
    fn a_device_of_another_board_is_refused() {
        let error = planned("a,,,nuc,,,,\nb,,,rpi4,,,,\n", BTreeMap::new()).expect_err("refused").to_string();
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
            match (planned(&format!("{row}\n"), configs), refused) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (other, _) => panic!("{target}, {row}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_configuration_that_was_not_read_is_not_left_out() {
        assert!(matches!(planned("a,,,nuc,c,,,\n", BTreeMap::new()), Err(PlanError::Unread { .. })));
    }

    #[test]
    fn a_key_made_before_the_device_is_in_its_seed_and_its_id_in_the_facts() {
        let identities = BTreeMap::from([(PathBuf::from("d.key"), testing::key(9))]);
        let ground = Ground { identities, ..Ground::with(BTreeMap::new()) };
        let stamps = ground.plan("name,board,identity", "a,nuc,\nb,nuc,auto\nc,nuc,d.key\n").expect("planned");
        let ids: Vec<_> = stamps.iter().map(|stamp| stamp.facts.identity.clone().map(|entry| entry.device_id)).collect();
        let id = |seed: u8| Some(DeviceId::of(&testing::key(seed).verifying_key()));
        assert_eq!(ids, [None, id(1), id(9)]);
        for stamp in &stamps {
            let seed = seed::decode(&stamp.seed()).expect("decoded").seed;
            assert_eq!(seed.identity.map(|seed| IdentityEntry { device_id: seed.device_id() }), stamp.facts.identity);
        }
        let unread = ground.plan("name,board,identity", "a,nuc,e.key\n").expect_err("refused");
        assert!(matches!(unread, PlanError::Unread { .. }), "{unread}");
    }

    #[test]
    fn two_devices_never_share_a_key() {
        let identities =
            BTreeMap::from([(PathBuf::from("d.key"), testing::key(9)), (PathBuf::from("copy.key"), testing::key(9))]);
        let ground = Ground { identities, ..Ground::with(BTreeMap::new()) };
        for rows in ["a,nuc,d.key\nb,nuc,d.key\n", "a,nuc,d.key\nb,nuc,copy.key\n"] {
            let error = ground.plan("name,board,identity", rows).expect_err("refused").to_string();
            assert_eq!(error, "cannot stamp b (line 3): the device at line 2 has the same key; each device has its own");
        }
    }

    #[test]
    fn a_configuration_for_another_key_than_the_one_made_is_refused() {
        let target = |key: u8| format!("deviceId: {}", DeviceId::of(&testing::key(key).verifying_key()));
        let identities = BTreeMap::from([(PathBuf::from("d.key"), testing::key(9))]);
        for (key, refused) in [(9, false), (8, true)] {
            let configs = BTreeMap::from([(PathBuf::from("c"), config("a", &target(key)))]);
            let ground = Ground { identities: identities.clone(), ..Ground::with(configs) };
            let result = ground.plan("name,board,config,identity", "a,nuc,c,d.key\n");
            assert_eq!(matches!(result, Err(PlanError::Target { .. })), refused, "{result:?}");
        }
    }

    #[test]
    fn the_common_configuration_is_for_rows_that_name_none_and_must_fit_them() {
        let own = config("b", "serial: S2");
        let configs = BTreeMap::from([(PathBuf::from("b.yaml"), own.clone())]);
        let ground = |name: &str, target: &str| Ground { common: Some(config(name, target)), ..Ground::with(configs.clone()) };
        let rows = "a,S1,nuc,\nb,S2,nuc,b.yaml\nc,S3,nuc,none\n";
        let stamps = ground("all", "any: true").plan("name,serial,board,config", rows).expect("planned");
        let digests: Vec<_> = stamps.iter().map(|stamp| stamp.facts.seed.config_sha256).collect();
        let digest = |config: &Verified<MachineConfig>| Some(Digest::of(config.bytes()));
        assert_eq!(digests, [digest(&config("all", "any: true")), digest(&own), None]);
        let error = ground("a", "serial: S9").plan("name,serial,board,config", rows).expect_err("refused").to_string();
        assert!(error.contains("common.yaml is for the serial number S9, this device has S1"), "{error}");
    }

    #[test]
    fn a_board_is_made_nothing_it_is_too_weak_for() {
        let server = testing::config_with("a", "any: true", "k3s: {role: server}\n");
        let server = judge_for_fleet(&server, &fleet(1).trust()).expect("good");
        let configs = BTreeMap::from([(PathBuf::from("c"), server)]);
        for (roles, expected) in [
            (vec![K3sRole::Agent], Some("c makes it a k3s server, and `nuc` is strong enough for a k3s agent only")),
            (vec![], Some("c makes it a k3s server, and `nuc` is not strong enough for k3s")),
            (BOTH.to_vec(), None),
        ] {
            let result = Ground { roles, ..Ground::with(configs.clone()) }.plan("name,board,config", "a,nuc,c\n");
            match (result, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}
