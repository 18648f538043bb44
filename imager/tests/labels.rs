//! The log of flashed drives and the labels made from it, with the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imager::flash::outcome::{Drive, Failure, Outcome, Reason, Transport};
use imager::flash::record::Entry;
use imager::flash::record::append::Recorder;
use imager::image::digest::Digest;
use imager::stamp::manifest::{BaseEntry, DeviceEntry, DeviceFacts, IdentityEntry, ImageEntry, Manifest, SeedEntry, TokenOrigin};
use imager::stamp::station;
use jiff::Timestamp;

/// A bench whose log tells of three devices: `box-2` failed, the id of `box-3` is known beforehand.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("temp folder") };
        station::make(&bench.path("key")).expect("a key");
        let recorder = Recorder::open(&bench.path("log"), bench.key()).expect("usable");
        for number in 1..=3 {
            let manifest = bench.manifest(number, &number.to_le_bytes());
            recorder.append(Entry::new(&outcome(number), Some(&manifest))).expect("appended");
            let text = manifest.sign(&bench.key());
            std::fs::write(bench.path(&format!("box-{number}.manifest.json")), text).expect("written");
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self) -> machine_config::SigningKey {
        station::load(&self.path("key")).expect("a key")
    }

    /// The manifest of a device whose image has this content.
    fn manifest(&self, number: u64, image: &[u8]) -> Manifest {
        let digest = Digest::of(image);
        let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest, blank_sha256: digest };
        let seed = SeedEntry {
            sha256: digest,
            fleet: "acme".parse().expect("a name"),
            hub: Some("https://hub.example".into()),
            join_token: TokenOrigin::Made,
            join_token_sha256: None,
            config_sha256: None,
        };
        let name = format!("box-{number}").parse().expect("a name");
        let device = DeviceEntry { name, serial: Some(format!("FZ{number}")), mac: None, labels: BTreeMap::new() };
        let id = (number == 3).then(|| IdentityEntry { device_id: "ab".repeat(32).parse().expect("an id") });
        let facts = DeviceFacts { seed, device, identity: id };
        Manifest::new(base, facts, ImageEntry { bytes: image.len() as u64, sha256: digest }, &self.key())
    }

    /// Runs the program in the bench's folder.
    fn imager(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imager"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("SKERRY_STATION_KEY").output().expect("started")
    }

    /// What it prints; it must end well.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.imager(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The error it ends with.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.imager(arguments);
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        errors
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).expect("listed");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

fn outcome(number: u64) -> Outcome {
    let digest = Digest::of(&number.to_le_bytes());
    let failure = Failure::new(Reason::Counterfeit, "it claims more than it has");
    Outcome {
        device: Path::new("/dev").join(format!("sd{number}")),
        drive: Drive { serial: Some(format!("D{number}")), model: None, bytes: 1 << 30, transport: Transport::Usb, port: None },
        image: "image".into(),
        device_name: None,
        image_sha256: Some(digest),
        readback_sha256: Some(digest),
        started: Timestamp::UNIX_EPOCH,
        ended: Timestamp::UNIX_EPOCH,
        bytes_written: 1 << 20,
        result: if number == 2 { Err(failure) } else { Ok(()) },
    }
}

#[test]
fn a_log_is_proved_before_it_is_shown() {
    let bench = Bench::new();
    let records = ["records", "log", "--station-key", "key.pub"];
    let table = bench.says(&records);
    assert!(table.contains("3 drives, 2 good") && table.contains("counterfeit"), "{table}");
    let last = table.lines().last().expect("a line").strip_prefix("last line ").expect("its hash").to_owned();
    assert_eq!(bench.says(&[&records[..], &["--csv"]].concat()).lines().count(), 4);
    let json: serde_json::Value = serde_json::from_str(&bench.says(&[&records[..], &["--json"]].concat())).expect("JSON");
    assert_eq!(json[2]["sha256"].as_str(), Some(last.as_str()));
    assert_eq!(json[1]["record"]["flash"]["result"]["failed"]["reason"], "counterfeit");
    bench.says(&[&records[..], &["--holds", &last]].concat());
    let warned = bench.imager(&["records", "log"]);
    assert!(String::from_utf8_lossy(&warned.stderr).contains("warning: whose signatures they are was not checked"));

    let whole = std::fs::read_to_string(bench.path("log")).expect("read");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for (content, more, expected) in [
        (lines[..2].concat(), vec!["--holds", last.as_str()], "lines were taken from its end"),
        (lines[1..].concat(), vec![], "cannot trust line 1: line 2 stands there"),
        (whole.replace("counterfeit", "bad-block"), vec![], "cannot trust line 2: it was changed after it was signed"),
        (whole.trim_end().to_owned(), vec![], "line 3 of log was never finished"),
    ] {
        std::fs::write(bench.path("log"), content).expect("written");
        let error = bench.fails(1, &[&records[..], &more].concat());
        assert!(error.contains(expected), "{error}");
    }
    station::make(&bench.path("other")).expect("a key");
    std::fs::write(bench.path("log"), &whole).expect("written");
    let error = bench.fails(1, &["records", "log", "--station-key", "other.pub"]);
    assert!(error.contains("cannot trust line 1") && error.contains("station"), "{error}");
}

#[test]
fn devices_whose_drive_was_proved_get_labels() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("out")).expect("made");
    let label = |more: &[&str]| bench.says(&[&["label", "--station-key", "key.pub", "--out", "out"], more].concat());
    label(&["--record", "log", "--all"]);
    assert_eq!(bench.files("out"), ["box-1.label.svg", "box-3.label.svg"]);
    let text = std::fs::read_to_string(bench.path("out/box-3.label.svg")).expect("read");
    assert!(text.contains("id abababababababab") && text.contains("serial FZ3") && text.contains("fleet acme"), "{text}");
    label(&["--record", "log", "--last", "1", "--format", "pdf", "--size", "50x30mm"]);
    label(&["--manifest", "box-1.manifest.json", "--manifest", "box-2.manifest.json", "--format", "pdf", "--sheet", "3x8"]);
    assert_eq!(bench.files("out"), ["box-1.label.svg", "box-3.label.pdf", "box-3.label.svg", "labels.pdf"]);
    assert!(std::fs::read(bench.path("out/labels.pdf")).expect("read").starts_with(b"%PDF-"));
    let report = label(&["--record", "log", "--device", "box-3", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let claim = format!("https://hub.example/claim/id/{}", "ab".repeat(32));
    assert_eq!(report["report"]["labels"][0]["claim"].as_str(), Some(claim.as_str()));
}

#[test]
fn labels_that_would_mislead_are_not_made() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("out")).expect("made");
    let log = ["label", "--out", "out", "--record", "log"];
    for (code, arguments, expected) in [
        (1, [&log[..], &["--device", "box-2"]].concat(), "its drive failed (line 2 of the log: counterfeit)"),
        (1, [&log[..], &["--device", "box-9"]].concat(), "the log does not tell of it"),
        (1, [&log[..], &["--all", "--size", "12x12mm"]].concat(), "choose a larger --size"),
        (1, vec!["label", "--out", "nowhere/at/all", "--record", "log", "--all"], "there is no folder nowhere/at"),
        (1, vec!["label", "--out", "out", "--manifest", "log"], "cannot use log"),
        (2, log.to_vec(), "--all"),
        (2, vec!["label", "--out", "out"], "--record"),
        (2, [&log[..], &["--all", "--last", "1"]].concat(), "cannot be used with"),
        (2, vec!["label", "--out", "out", "--manifest", "box-1.manifest.json", "--all"], "cannot be used with"),
        (2, [&log[..], &["--all", "--size", "12"]].concat(), "62x29mm"),
    ] {
        let error = bench.fails(code, &arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert_eq!(bench.files("out"), [] as [&str; 0]);
}

#[test]
fn from_an_image_over_its_drive_to_its_label() {
    let bench = Bench::new();
    let image = vec![7; 1 << 20];
    std::fs::write(bench.path("box-7.img"), &image).expect("written");
    std::fs::write(bench.path("box-8.img"), &image).expect("written");
    std::fs::write(bench.path("box-7.manifest.json"), bench.manifest(7, &image).sign(&bench.key())).expect("written");
    // Of another image.
    std::fs::write(bench.path("box-8.manifest.json"), bench.manifest(8, &vec![8; image.len()]).sign(&bench.key()))
        .expect("written");
    std::fs::create_dir(bench.path("out")).expect("made");
    let flash = |name: &str| {
        let drive = format!("drive-{name}");
        std::fs::write(bench.path(&drive), vec![1; 2 << 20]).expect("written");
        let image = format!("{name}.img");
        let arguments =
            ["flash", &image, "--to", &drive, "--yes", "--record", "log", "--station-key", "key", "--stamped-by", "key.pub"];
        let arguments = [&arguments[..], &["--allow-fixed", &drive]].concat();
        bench.imager(&arguments).status.code()
    };
    assert_eq!((flash("box-7"), flash("box-8")), (Some(0), Some(1)));
    assert_eq!(std::fs::read(bench.path("drive-box-7")).expect("read")[..image.len()], image);
    let label = ["label", "--record", "log", "--station-key", "key.pub", "--out", "out", "--device"];
    bench.says(&[&label[..], &["box-7"]].concat());
    assert_eq!(bench.files("out"), ["box-7.label.svg"]);
    let error = bench.fails(1, &[&label[..], &["box-8"]].concat());
    assert!(error.contains("its drive failed (line 5 of the log: wrong-hash)"), "{error}");
}
