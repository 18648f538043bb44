//! The commands with their options, from files to files.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use machine_config::DeviceId;
use machine_config::seed::{self, Seed};

use super::super::args::DeviceArgs;
use super::*;
use crate::build::tests::build_sample;
use crate::stamp::testing::{self, config, fleet, public};

/// A bench: base, fleet, station's key and a folder for the result.
struct Bench {
    folder: tempfile::TempDir,
    base: PathBuf,
}

impl Bench {
    fn new(seed: Option<Seed>) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let base = build_sample(folder.path(), seed.map(|seed| seed::encode(&seed).expect("fits")));
        let bench = Self { folder, base };
        std::fs::create_dir(bench.path("out")).expect("made");
        station::make(&bench.path("station")).expect("made");
        bench
    }

    fn of_fleet() -> Self {
        Self::new(Some(Seed { fleet: fleet(1), hub: None, join_token: None, device_name: None, config: None, identity: None }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn devices(&self) -> DeviceArgs {
        let station_key = Some(self.path("station"));
        DeviceArgs { inventory: self.path("devices.csv"), config: None, station_key, fleet: None, hub_proxy: None }
    }

    /// The arguments with other options about devices.
    fn with(&self, change: impl FnOnce(DeviceArgs) -> DeviceArgs) -> StampArgs {
        StampArgs { devices: change(self.devices()), ..self.args() }
    }

    fn args(&self) -> StampArgs {
        StampArgs { base: self.base.clone(), devices: self.devices(), out: Some(self.path("out")), stdout: false, replace: false }
    }

    /// A configuration signed by a fleet's key.
    fn config(&self, name: &str, serial: &str, fleet: &str, key: u8) {
        std::fs::write(self.path("config.yaml"), config(name, &format!("serial: {serial}"), fleet, key)).expect("written");
    }

    fn inventory(&self, rows: &str) {
        std::fs::write(self.path("devices.csv"), format!("name,serial,board,config\n{rows}")).expect("written");
    }

    fn stamp(&self, args: &StampArgs) -> Result<(), String> {
        let result = run_stamp(false, args, &Ui::new(false)).map_err(|error| super::super::one_line(&error));
        let left = std::fs::read_dir(self.path("out")).expect("listed").count();
        assert!(result.is_ok() || left == 0, "something was left behind");
        result
    }

    fn seed(&self) -> Seed {
        self.seed_of("box-1")
    }

    fn seed_of(&self, name: &str) -> Seed {
        let opened = crate::stamp::base::Opened::open(&self.path(&format!("out/{name}.img"))).expect("opened");
        seed::decode(&opened.read_seed().expect("read")).expect("decoded").seed
    }
}

#[test]
fn a_row_with_a_configuration_becomes_an_image_with_it_that_verifies() {
    let bench = Bench::of_fleet();
    bench.config("box-1", "S1", "acme", 1);
    bench.inventory("box-1,S1,test,config.yaml\n");
    bench.stamp(&bench.args()).expect("stamped");
    assert_eq!(bench.seed().config, std::fs::read(bench.path("config.yaml")).ok());
    let file = bench.path("station.pub");
    let args = |key: String| VerifyArgs {
        image: bench.path("out/box-1.img"),
        manifest: bench.path("out/box-1.manifest.json"),
        station_key: Some(key),
        base: Some(bench.base.clone()),
    };
    let hex = std::fs::read_to_string(&file).expect("read").trim_end().to_owned();
    for key in [file.display().to_string(), hex] {
        run_verify(&args(key), &Ui::new(false)).expect("proved");
    }
    let other = run_verify(&args(public(5).to_string()), &Ui::new(false)).expect_err("another station");
    assert!(other.to_string().contains("is --station-key the right one?"), "{other}");
}

#[test]
fn configurations_of_others_are_refused_by_row_and_file() {
    let bench = Bench::of_fleet();
    for (name, serial, fleet, key, expected) in [
        ("box-1", "S2", "acme", 1, "is for the serial number S2, this device has S1"),
        ("box-2", "S1", "acme", 1, "is for the device box-2, this device has box-1"),
        ("box-1", "S1", "evil", 1, "it is for the fleet `evil`"),
        ("box-1", "S1", "acme", 2, "which this fleet does not know"),
    ] {
        bench.config(name, serial, fleet, key);
        bench.inventory("box-1,S1,test,config.yaml\n");
        let error = bench.stamp(&bench.args()).expect_err("refused");
        assert!(error.contains(expected) && error.contains("box-1 (line 2)") && error.contains("config.yaml"), "{error}");
    }
    bench.inventory("box-1,S1,test,none.yaml\n");
    assert!(bench.stamp(&bench.args()).expect_err("refused").contains("none.yaml"));
}

#[test]
fn the_common_configuration_reaches_every_row_that_names_none() {
    let bench = Bench::of_fleet();
    let common = bench.path("common.yaml");
    bench.inventory("box-1,S1,test,\nbox-2,S2,test,none\n");
    let args = || bench.with(|devices| DeviceArgs { config: Some(common.clone()), ..devices });
    assert!(bench.stamp(&args()).expect_err("refused").contains("common.yaml"));
    std::fs::write(&common, config("all", "any: true", "acme", 2)).expect("written");
    assert!(bench.stamp(&args()).expect_err("refused").contains("which this fleet does not know"));
    std::fs::write(&common, config("box-9", "serial: S1", "acme", 1)).expect("written");
    assert!(bench.stamp(&args()).expect_err("refused").contains("common.yaml is for the device box-9, this device has box-1"));
    std::fs::write(&common, config("all", "any: true", "acme", 1)).expect("written");
    bench.stamp(&args()).expect("stamped");
    assert_eq!(bench.seed().config, std::fs::read(&common).ok());
    assert_eq!(bench.seed_of("box-2").config, None);
}

#[test]
fn a_key_from_a_file_is_in_the_image_and_proved() {
    let bench = Bench::of_fleet();
    let key = bench.path("box-1.key");
    let write = |mode| {
        std::fs::write(&key, [7; 32])
            .and_then(|()| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)))
            .expect("written");
    };
    let rows = "name,board,identity\nbox-1,test,box-1.key\nbox-2,test,auto\n";
    std::fs::write(bench.path("devices.csv"), rows).expect("written");
    write(0o644);
    let error = bench.stamp(&bench.args()).expect_err("refused");
    assert!(error.contains("box-1 (line 2)") && error.contains("others may read it (mode 644)"), "{error}");
    write(0o600);
    bench.stamp(&bench.args()).expect("stamped");
    let id = |name: &str| bench.seed_of(name).identity.map(|seed| seed.device_id());
    assert_eq!(id("box-1"), Some(DeviceId::of(&testing::key(7).verifying_key())));
    assert!(id("box-2").is_some() && id("box-2") != id("box-1"));
    for name in ["box-1", "box-2"] {
        let manifest = std::fs::read(bench.path(&format!("out/{name}.manifest.json"))).expect("read");
        let proof = verify(&bench.path(&format!("out/{name}.img")), &manifest, None, Some(&bench.base)).expect("proved");
        assert_eq!(proof.manifest.identity.map(|identity| identity.device_id), id(name));
    }
}

#[test]
fn a_key_is_one_device_s_whatever_the_inventory_and_the_folder() {
    let bench = Bench::of_fleet();
    std::fs::create_dir(bench.path("second")).expect("made");
    for name in ["k.key", "copy.key"] {
        std::fs::write(bench.path(name), [7; 32]).expect("written");
        std::fs::set_permissions(bench.path(name), PermissionsExt::from_mode(0o600)).expect("set");
    }
    let stamp = |inventory: &str, rows: &str, out: &str| {
        std::fs::write(bench.path(inventory), format!("name,board,identity\n{rows}")).expect("written");
        let args = bench.with(|devices| DeviceArgs { inventory: bench.path(inventory), ..devices });
        let args = StampArgs { out: Some(bench.path(out)), replace: true, ..args };
        run_stamp(false, &args, &Ui::new(false)).map_err(|error| super::super::one_line(&error))
    };
    let error = stamp("a.csv", "box-1,test,k.key\nbox-2,test,copy.key\n", "out").expect_err("in one inventory");
    assert!(error.contains("box-2 (line 3): the device at line 2 has the same key"), "{error}");
    let error = stamp("a.csv", "box-1,test,k.key\nbox-2,other,k.key\n", "out").expect_err("of another board");
    assert!(error.contains("box-2 (line 3): the device at line 2 has the same key"), "{error}");
    stamp("a.csv", "box-1,test,k.key\n", "out").expect("stamped");
    stamp("a.csv", "box-1,test,k.key\n", "second").expect("the same device again");
    for key in ["k.key", "copy.key"] {
        for out in ["out", "second"] {
            let error = stamp("b.csv", &format!("box-2,test,{key}\n"), out).expect_err("another device");
            assert!(error.contains("box-2 (line 2)") && error.contains("says that acme/box-1 has it"), "{error}");
            assert!(!bench.path(out).join("box-2.img").exists(), "it was stamped nevertheless");
        }
    }
}

#[test]
fn a_base_without_a_fleet_needs_one_and_a_given_one_wins() {
    let bench = Bench::new(None);
    bench.inventory("box-1,S1,test,\n");
    assert!(bench.stamp(&bench.args()).expect_err("refused").contains("name one with --fleet"));
    std::fs::create_dir(bench.path("fleet")).expect("made");
    std::fs::write(bench.path("fleet/fleet.pub"), fleet(7).to_json()).expect("written");
    bench.stamp(&bench.with(|devices| DeviceArgs { fleet: Some(bench.path("fleet")), ..devices })).expect("stamped");
    assert_eq!(bench.seed().fleet, fleet(7));
}

#[test]
fn a_missing_folder_is_made_once_every_row_is_right() {
    let bench = Bench::of_fleet();
    let args = || StampArgs { out: Some(bench.path("new")), ..bench.args() };
    bench.inventory("box-1,S1,nuc,\n");
    bench.stamp(&args()).expect_err("another board");
    assert!(!bench.path("new").exists());
    bench.inventory("box-1,S1,test,\n");
    bench.stamp(&args()).expect("stamped");
    assert!(bench.path("new/box-1.manifest.json").is_file());
    run_station_key(&StationKeyArgs { file: bench.path("a/b/station") }, &Ui::new(false)).expect("made");
    assert!(bench.path("a/b/station.pub").is_file());
}

/// The arguments that send the image to standard output, without a folder or with one.
fn piped(bench: &Bench, out: Option<&str>) -> StampArgs {
    StampArgs { out: out.map(|name| bench.path(name)), stdout: true, ..bench.args() }
}

#[test]
fn an_image_that_is_piped_is_the_one_that_a_folder_gets() {
    let bench = Bench::of_fleet();
    bench.inventory("box-1,S1,test,\n");
    let (mut alone, mut with_folder) = (Vec::new(), Vec::new());
    stream(&piped(&bench, None), &Ui::new(false), &mut alone).expect("streamed");
    assert_eq!(std::fs::read_dir(bench.path("out")).expect("listed").count(), 0, "nothing is kept");
    stream(&piped(&bench, Some("out")), &Ui::new(false), &mut with_folder).expect("streamed");
    assert!(alone == with_folder, "two images");
    let manifest = std::fs::read(bench.path("out/box-1.manifest.json")).expect("read");
    std::fs::write(bench.path("piped"), alone).expect("written");
    verify(&bench.path("piped"), &manifest, None, Some(&bench.base)).expect("proved");
}

#[test]
fn what_would_be_lost_is_not_piped() {
    let bench = Bench::of_fleet();
    let token = format!("box-1,test,auto,https://hub.example,{}\n", "ab".repeat(32));
    for (columns, rows, expected) in [
        ("join_token,hub,hub_pin", token.as_str(), "the join token made for box-1"),
        ("identity", "box-1,test,auto\n", "the id of the key made for box-1"),
        ("serial", "box-1,test,S1\nbox-2,test,S2\n", "the inventory lists 2 devices"),
    ] {
        std::fs::write(bench.path("devices.csv"), format!("name,board,{columns}\n{rows}")).expect("written");
        let mut out = Vec::new();
        let error = stream(&piped(&bench, None), &Ui::new(false), &mut out).expect_err(expected).to_string();
        assert!(error.contains(expected) && out.is_empty(), "{error}");
    }
    std::fs::write(bench.path("devices.csv"), "name,board,identity\nbox-1,test,auto\n").expect("written");
    stream(&piped(&bench, Some("out")), &Ui::new(false), &mut Vec::new()).expect("its id is kept");
}

#[test]
fn what_cannot_be_begun_says_what_to_do() {
    let bench = Bench::of_fleet();
    bench.inventory("box-1,S1,test,\nbox-2,S2,test,\n");
    let (nowhere, key) = (bench.path("nowhere"), bench.path("devices.csv"));
    for (args, expected) in [
        (StampArgs { out: Some(nowhere.join("out")), ..bench.args() }, "make that first"),
        (bench.with(|devices| DeviceArgs { station_key: None, ..devices }), "imager station-key"),
        (bench.with(|devices| DeviceArgs { station_key: Some(key), ..devices }), "as a station's key"),
        (bench.with(|devices| DeviceArgs { inventory: nowhere.clone(), ..devices }), "cannot read "),
        (StampArgs { base: nowhere, ..bench.args() }, "cannot open "),
        (StampArgs { out: None, ..bench.args() }, "neither --out nor --stdout"),
    ] {
        let error = bench.stamp(&args).expect_err(expected);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    bench.inventory("box-1,S1,nuc,\n");
    assert!(bench.stamp(&bench.args()).expect_err("refused").contains("the base is for `test`"));
    bench.inventory("box-1,S1\n");
    let error = bench.stamp(&bench.args()).expect_err("refused");
    assert!(error.contains("devices.csv: cannot read the inventory at line 2: it has 2 values"), "{error}");
}
