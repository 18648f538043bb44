//! Whole runs: forty devices from one base, and everything that may happen to an image afterwards.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use machine_config::seed::{self, Seed};

mod devices;
mod forms;
mod proofs;

use super::base::{Base, BaseError};
use super::inventory;
use super::plan::{Facts, Stamp, plan};
use super::press::Press;
use super::testing::{fleet, key, public};
use super::verify::{Proof, VerifyError, verify};
use super::write::{Existing, Run, Stamped, WriteError};
use crate::build::tests::build_sample;
use crate::progress::Silent;

const BOARD: &str = "test";

/// A base of the fleet, and a folder for what is stamped from it.
struct Bench {
    folder: tempfile::TempDir,
    base: PathBuf,
    out: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let seed = Seed { fleet: fleet(1), hub: None, join_token: None, device_name: None, config: None, identity: None };
        let base = build_sample(folder.path(), Some(seed::encode(&seed).expect("fits")));
        let out = folder.path().join("out");
        std::fs::create_dir(&out).expect("made");
        Self { folder, base, out }
    }

    fn press(&self) -> Press {
        let base = Base::open(&self.base).expect("opened");
        Press::new(base, key(9)).expect("hashed")
    }

    fn run(&self, rows: &str, existing: Existing) -> Result<Vec<Stamped>, WriteError> {
        let press = self.press();
        Run::prepare(&press, &stamps(rows, press.base()), &self.out, existing)?.write(&Silent)
    }

    /// A run of one device.
    fn one(&self) -> Stamped {
        self.run("box-1,S1\n", Existing::Keep).expect("stamped").remove(0)
    }

    fn verify(&self, stamped: &Stamped) -> Result<Proof, VerifyError> {
        let manifest = std::fs::read(&stamped.manifest).expect("read");
        verify(image(stamped), &manifest, Some(&public(9)), Some(&self.base))
    }

    fn refused(&self, stamped: &Stamped) -> String {
        self.verify(stamped).expect_err("refused").to_string()
    }
}

fn image(stamped: &Stamped) -> &Path {
    stamped.image.as_deref().expect("it was written to a file")
}

fn stamps(rows: &str, base: &Base) -> Vec<Stamp> {
    stamps_with(rows, "auto", base)
}

fn stamps_with(rows: &str, token: &str, base: &Base) -> Vec<Stamp> {
    let rows: String = rows.lines().map(|row| format!("{row},{BOARD},https://hub,{},{token}\n", "ab".repeat(32))).collect();
    let text = format!("name,serial,board,hub,hub_pin,join_token\n{rows}");
    let rows = inventory::parse(text.as_bytes()).expect("good rows");
    let fleet = &base.seed.as_ref().expect("of a fleet").fleet;
    let facts = Facts {
        board: &base.release.board,
        k3s_roles: &base.release.k3s_roles,
        fleet,
        configs: &BTreeMap::new(),
        common_config: None,
        identities: &BTreeMap::new(),
    };
    plan(&rows, &facts, |_, into| getrandom::fill(into)).expect("planned")
}

fn damage(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("written");
}

fn seed_of(path: &Path) -> std::ops::Range<usize> {
    let opened = super::base::Opened::open(path).expect("opened");
    let seed = opened.image().seed;
    seed.start as usize..seed.end as usize
}

#[test]
fn forty_devices_differ_from_the_base_in_seed_alone_and_all_verify() {
    let bench = Bench::new();
    let before = std::fs::read(&bench.base).expect("read");
    let rows: String = (1..=40).map(|n| format!("box-{n},S{n}\n")).collect();
    let stamped = bench.run(&rows, Existing::Keep).expect("stamped");
    let seed = seed_of(&bench.base);
    let mut seeds = std::collections::HashSet::new();
    assert_eq!(stamped.len(), 40);
    for (n, one) in (1..).zip(&stamped) {
        let bytes = std::fs::read(image(one)).expect("read");
        assert!(
            bytes.len() == before.len() && bytes[..seed.start] == before[..seed.start] && bytes[seed.end..] == before[seed.end..]
        );
        let content = seed::decode(&bytes[seed.clone()]).expect("decoded").seed;
        let token = std::fs::read_to_string(one.token.as_ref().expect("made")).expect("read");
        assert_eq!(content.join_token.as_ref().map(|token| token.expose()), Some(token.trim_end()));
        assert_eq!((token.len(), content.fleet), (65, fleet(1)));
        assert!(seeds.insert(bytes[seed.clone()].to_vec()), "two devices with one SEED");
        let proof = bench.verify(one).expect("proved");
        assert_eq!((proof.manifest.device.name.as_str(), one.name.as_str()), (format!("box-{n}").as_str(), one.name.as_str()));
        assert_eq!(proof.manifest.device.serial, Some(format!("S{n}")));
        assert!(proof.base_compared && proof.station_known);
        assert!(!std::fs::read_to_string(&one.manifest).expect("read").contains(token.trim_end()), "a token is in a manifest");
    }
    assert!(std::fs::read(&bench.base).expect("read") == before, "the base was changed");
}

#[test]
fn an_image_is_private_and_no_larger_on_disk_than_its_base() {
    let bench = Bench::new();
    let one = bench.one();
    let meta = |path: &Path| std::fs::metadata(path).expect("there");
    let mode = |path: &Path| meta(path).permissions().mode() & 0o777;
    let token = one.token.as_deref().expect("made");
    assert_eq!((mode(image(&one)), mode(token), mode(&one.manifest)), (0o600, 0o600, 0o644));
    let (base, copy) = (meta(&bench.base).blocks(), meta(image(&one)).blocks());
    assert!(copy <= base + 256, "{copy} blocks from {base}");
}

#[test]
fn one_device_is_stamped_without_writing_an_image() {
    let bench = Bench::new();
    let press = bench.press();
    let stamps = stamps("box-1,S1\n", press.base());
    let written = Run::prepare(&press, &stamps, &bench.out, Existing::Keep).and_then(|run| run.write(&Silent)).expect("stamped");
    let imprint = press.imprint(&stamps[0]).expect("made");
    let seed = press.base().opened.seed();
    let bytes = std::fs::read(image(&written[0])).expect("read");
    assert!(bytes[seed.start as usize..seed.end as usize] == imprint.seed);
    assert_eq!(
        (imprint.image_sha256, imprint.manifest.into_bytes()),
        (written[0].image_sha256, std::fs::read(&written[0].manifest).expect("read"))
    );
    damage(&bench.base, 5000);
    assert!(matches!(press.imprint(&stamps[0]), Err(BaseError::Changed { .. })));
}

#[test]
fn nothing_is_written_over_unless_asked() {
    let bench = Bench::new();
    let one = bench.one();
    let token = std::fs::read(one.token.as_ref().expect("made")).expect("read");
    let error = bench.run("box-2,S2\nbox-1,S1\n", Existing::Keep).expect_err("refused");
    assert!(matches!(&error, WriteError::Occupied { path } if path.ends_with("box-1.img")), "{error}");
    assert!(!bench.out.join("box-2.img").exists(), "half of a batch");
    assert_eq!(std::fs::read(one.token.as_ref().expect("made")).expect("read"), token);
    let again = bench.run("box-1,S1\n", Existing::Replace).expect("stamped").remove(0);
    assert_ne!(std::fs::read(again.token.as_ref().expect("made")).expect("read"), token);
    bench.verify(&again).expect("proved");
    let press = bench.press();
    let stamps = stamps_with("box-1,S1\n", "this-is-a-token-by-hand", press.base());
    let run = Run::prepare(&press, &stamps, &bench.out, Existing::Replace).expect("prepared");
    assert_eq!(run.write(&Silent).expect("stamped")[0].token, None);
    assert!(!bench.out.join("box-1.token").exists(), "the token of an earlier stamp");
}

#[test]
fn a_stream_is_the_same_image() {
    let bench = Bench::new();
    let press = bench.press();
    let stamps = stamps("box-1,S1\n", press.base());
    let run = Run::prepare(&press, &stamps, &bench.out, Existing::Keep).expect("prepared");
    let mut bytes = Vec::new();
    let streamed = run.stream(&mut bytes).expect("streamed");
    assert_eq!((streamed[0].image.as_ref(), crate::image::digest::Digest::of(&bytes)), (None, streamed[0].image_sha256));
    let path = bench.folder.path().join("streamed");
    std::fs::write(&path, bytes).expect("written");
    let manifest = std::fs::read(&streamed[0].manifest).expect("read");
    verify(&path, &manifest, Some(&public(9)), Some(&bench.base)).expect("proved");
}

#[test]
fn a_base_that_changes_under_way_is_noticed() {
    let bench = Bench::new();
    let press = bench.press();
    let stamps = stamps("box-1,S1\n", press.base());
    let run = Run::prepare(&press, &stamps, &bench.out, Existing::Keep).expect("prepared");
    std::thread::sleep(std::time::Duration::from_millis(20)); // a file system's clock is coarser than a write
    damage(&bench.base, 5000);
    let error = run.write(&Silent).expect_err("refused");
    assert!(matches!(error, WriteError::Base(BaseError::Changed { .. })), "{error}");
    assert_eq!(std::fs::read_dir(&bench.out).expect("listed").count(), 0, "something was left behind");
}

#[test]
fn a_damaged_base_is_not_stamped() {
    let bench = Bench::new();
    let seed = seed_of(&bench.base);
    damage(&bench.base, seed.end as u64 + 5000);
    let error = Base::open(&bench.base).expect_err("refused").to_string();
    assert!(error.contains("does not have the root hash"), "{error}");
}

/// Names the base for [`child_stamp`].
const BASE_VARIABLE: &str = "SKERRY_TEST_STAMP_BASE";

#[test]
#[ignore = "a process of the test below"]
fn child_stamp() {
    let path = PathBuf::from(std::env::var_os(BASE_VARIABLE).expect("run by the test below"));
    let press = Press::new(Base::open(&path).expect("opened"), key(9)).expect("hashed");
    let stamps = stamps("box-1,S1\n", press.base());
    let run = Run::prepare(&press, &stamps, &path.with_file_name("out"), Existing::Keep).expect("prepared");
    let error = run.write(&Silent).expect_err("there is no room").to_string();
    assert!(error.contains("box-1.img: no space left on its disk"), "{error}");
}

#[test]
fn a_disk_without_room_is_told_and_nothing_is_left_on_it() {
    let bench = Bench::new();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 20000; trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().expect("a path"));
    command.args(["--exact", "stamp::tests::child_stamp", "--ignored"]).env(BASE_VARIABLE, &bench.base);
    let output = command.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(std::fs::read_dir(&bench.out).expect("listed").count(), 0, "something was left behind");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let mut bench = Bench::new();
    bench.out = "/nowhere/at/all".into();
    let error = bench.run("box-1,S1\n", Existing::Keep).expect_err("refused").to_string();
    assert!(error.contains("the folder /nowhere/at/all is not there"), "{error}");
}
