//! Rows that become stamps, and rows that are refused with their line.

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
        let random = |_, bytes: &mut [u8]| {
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
    let stamps = planned("a,S1,,nuc,a.yaml,auto,HUB\nb,,,nuc,,auto,HUB\nc,,,nuc,,this-is-a-token-by-hand,HUB\n", configs.clone())
        .expect("planned");
    let seed = |index: usize| seed::decode(&stamps[index].seed()).expect("decoded").seed;
    assert_eq!(seed(0).config.as_deref(), Some(configs[&PathBuf::from("a.yaml")].bytes()));
    assert_eq!(seed(0).join_token, Some(Secret::from("01".repeat(32))));
    assert_eq!(seed(1).join_token, Some(Secret::from("02".repeat(32))));
    assert_eq!(seed(1).config, None);
    assert_eq!((seed(2).device_name.map(String::from), seed(2).fleet), (Some("c".into()), fleet(1)));
    assert_eq!(stamps[1].made_token().map(Secret::expose), Some("02".repeat(32).as_str()));
    assert_eq!(stamps[2].made_token(), None);
    let hashes = [0, 1, 2].map(|index| stamps[index].facts.seed.join_token_sha256);
    let of = |text: String| Some(Digest::of(text.as_bytes()));
    assert_eq!(
        hashes,
        [of("01".repeat(32)), of("02".repeat(32)), None],
        "a token that people chose could be guessed by its hash"
    );
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
    let identities = BTreeMap::from([(PathBuf::from("d.key"), testing::key(9)), (PathBuf::from("copy.key"), testing::key(9))]);
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
