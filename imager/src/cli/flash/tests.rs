//! The command with its options: stamped images and files for drives, from the inventory to the log.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use machine_config::seed::{self, Seed};

use super::*;
use crate::build::tests::build_sample;
use crate::cli::Cli;
use crate::cli::args::{Command, DeviceArgs, StampArgs};
use crate::cli::stamp::run_stamp;
use crate::components::digest;
use crate::flash::outcome::Reason;
use crate::flash::record::chain;
use crate::flash::record::{Record, Verdict};
use crate::format::mapped;
use crate::inspect::disk::Disk;
use crate::stamp::manifest::Manifest;
use crate::stamp::station;
use crate::stamp::testing::{fleet, public};
use crate::stamp::verify::verify;

/// A bench with stamped images of three devices.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let seed = Seed { fleet: fleet(1), hub: None, join_token: None, device_name: None, config: None, identity: None };
        let base = build_sample(folder.path(), Some(seed::encode(&seed).expect("fits")));
        let bench = Self(folder);
        std::fs::create_dir(bench.path("images")).expect("made");
        std::fs::write(bench.path("devices.csv"), "name,board\nbox-1,test\nbox-2,test\nbox-3,test\n").expect("written");
        station::make(&bench.path("station")).expect("made");
        let inventory = bench.path("devices.csv");
        let devices =
            DeviceArgs { inventory, config: None, station_key: Some(bench.path("station")), fleet: None, hub_proxy: None };
        let args = StampArgs { base, devices, out: Some(bench.path("images")), stdout: false, replace: false };
        run_stamp(false, &args, &Ui::new(false)).expect("stamped");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// Empty files to write to.
    fn drives(&self, names: &[&str]) -> Vec<String> {
        names.iter().for_each(|name| std::fs::write(self.path(name), b"").expect("written"));
        names.iter().map(|name| self.text(name)).collect()
    }

    fn args(arguments: &[&str]) -> Result<Box<FlashArgs>> {
        let cli = Cli::try_parse_from(["imager", "flash", "--yes"].iter().chain(arguments))
            .map_err(|error| Usage::new(error.to_string()))?;
        let Command::Flash(args) = cli.command else { bail!("another command") };
        Ok(Box::new(args))
    }

    fn flash(&self, arguments: &[&str]) -> Result<()> {
        run(false, Self::args(arguments)?.as_ref(), &Ui::new(false))
    }

    /// A machine with these files as USB sticks.
    fn machine(&self, sticks: &[(&str, &str)]) -> Roots {
        let at = |name: &str| self.path(name).to_owned();
        let roots = Roots { sys: at("sys"), proc: at("proc"), dev: at("dev") };
        let write = |path: PathBuf, text: &str| {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write(at("proc/self/mountinfo"), "");
        std::fs::create_dir_all(at("sys/block")).expect("made");
        std::fs::create_dir_all(at("sys/dev/block")).expect("made");
        std::fs::create_dir_all(at("dev/disk/by-path")).expect("made");
        for (minor, (name, file)) in sticks.iter().enumerate() {
            let number = format!("8:{}", 16 * minor);
            let folder = format!("sys/devices/usb1/1-{minor}/block/{name}");
            let files = [("dev", number.as_str()), ("size", "131072"), ("ro", "0"), ("removable", "1")];
            files.iter().for_each(|(file, text)| write(at(&format!("{folder}/{file}")), text));
            write(at(&format!("{folder}/queue/logical_block_size")), "512");
            for link in [format!("sys/block/{name}"), format!("sys/dev/block/{number}")] {
                std::os::unix::fs::symlink(at(&folder), at(&link)).expect("linked");
            }
            std::fs::copy(at(file), at(&format!("dev/{name}"))).expect("copied");
        }
        roots
    }

    /// Flashes the inventory to these drives, with a record.
    fn flash_inventory(&self, drives: &[String], more: &[&str]) -> Result<()> {
        let (inventory, images, log, key) =
            (self.text("devices.csv"), self.text("images"), self.text("log"), self.text("station"));
        let fixed = ["--inventory", &inventory, "--images", &images, "--record", &log, "--station-key", &key, "--to"];
        let drives: Vec<&str> = drives.iter().map(String::as_str).collect();
        self.flash(&[&fixed[..], &drives, more].concat())
    }

    fn records(&self) -> Vec<Record> {
        let public = station::load_public(&self.path("station.pub")).expect("a key");
        let log = chain::read(&std::fs::read(self.path("log")).expect("read"), Some(&public)).expect("sound");
        log.records().cloned().collect()
    }

    fn manifest(&self, name: &str) -> Manifest {
        let bytes = std::fs::read(self.path(&format!("images/{name}.manifest.json"))).expect("read");
        Manifest::read(&bytes, None).expect("a manifest")
    }

    fn carries(&self, drive: &str, name: &str) -> bool {
        digest::of_file(&self.path(drive)).expect("read") == self.manifest(name).image.sha256
    }
}

fn told(error: &anyhow::Error) -> String {
    crate::cli::one_line(error)
}

#[test]
fn an_inventory_goes_to_the_next_drives_and_the_log_remembers_what_is_done() {
    let bench = Bench::new();
    bench.flash_inventory(&bench.drives(&["a", "b"]), &[]).expect("flashed");
    assert!(bench.carries("a", "box-1") && bench.carries("b", "box-2"));
    bench.flash_inventory(&bench.drives(&["c", "d"]), &[]).expect("flashed");
    assert!(bench.carries("c", "box-3"));
    assert_eq!(std::fs::metadata(bench.path("d")).expect("there").len(), 0, "no device was left for it");
    let records = bench.records();
    let names: Vec<_> = records.iter().map(|record| record.flash.device.as_ref().expect("a device").name.as_str()).collect();
    assert_eq!((names.len(), names.last()), (3, Some(&"box-3")));
    for record in &records {
        let name = record.flash.device.as_ref().expect("a device").name.as_str();
        assert_eq!(record.flash.readback_sha256, Some(bench.manifest(name).image.sha256));
    }
}

#[test]
fn drives_of_devices_that_are_done_are_not_taken_for_empty_ones() {
    let bench = Bench::new();
    bench.flash_inventory(&bench.drives(&["a", "b"]), &[]).expect("flashed");
    let failed = std::fs::File::options().write(true).open(bench.path("b")).expect("opened");
    failed.write_all_at(&[0; 1 << 20], 0).expect("written");
    std::fs::write(bench.path("short"), [1; 4096]).expect("written");
    std::fs::File::create(bench.path("empty")).and_then(|file| file.set_len(64 << 20)).expect("made");
    let (inventory, images, log, key) =
        (bench.text("devices.csv"), bench.text("images"), bench.text("log"), bench.text("station"));
    let args = ["--inventory", &inventory, "--images", &images, "--record", &log, "--station-key", &key];
    let args = Bench::args(&args).expect("options");
    let records = Records::open(&args).expect("the log");
    for (sticks, expected) in
        [(&[("sda", "a"), ("sdb", "empty")][..], &["box-3 to sdb"][..]), (&[("sdc", "short"), ("sdd", "b")], &["box-3 to sdd"])]
    {
        let roots = bench.machine(sticks);
        let pairs = choose::pairs(&args, &records, &mut Policy::default(), &roots, &Ui::new(false)).expect("chosen");
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let found: Vec<_> = pairs
            .iter()
            .map(|(image, facts)| format!("{} to {}", image.device_name().expect("stamped"), name(&facts.path)))
            .collect();
        assert_eq!(found, expected);
        ["sys", "dev", "proc"].iter().for_each(|name| std::fs::remove_dir_all(bench.path(name)).expect("removed"));
    }
}

#[test]
fn a_used_drive_verifies_though_it_keeps_old_bytes_in_free_blocks_and_nowhere_else() {
    let bench = Bench::new();
    let (image, used, manifest) = (bench.text("images/box-1.img"), bench.text("used"), bench.path("images/box-1.manifest.json"));
    let length = std::fs::metadata(&image).expect("there").len();
    std::fs::write(&used, vec![0xee; usize::try_from(length).expect("small") + (4 << 20)]).expect("written");
    bench.flash(&[&image, "--no-discard", "--allow-fixed", &used, "--to", &used]).expect("flashed");
    let manifest = std::fs::read(manifest).expect("read");
    let file = std::fs::File::options().read(true).write(true).open(&used).expect("opened");
    let prove = |name: &str| verify(&bench.path(name), &manifest, None, None);
    let proof = prove("used").expect("proved");
    assert!(proof.free_bytes > 0 && proof.unread_bytes == 4 << 20, "{proof:?}");
    let disk = Disk::open(&bench.path("used")).expect("a disk");
    let mapped = mapped::by_tables(&disk).expect("mapped").ranges;
    assert_eq!(proof.free_bytes, length - mapped.iter().map(|range| range.end - range.start).sum::<u64>());
    // One bit in each part that means something: tables, boot files, SEED, runtime image.
    for range in &mapped {
        for at in [range.start, range.end - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read");
            file.write_all_at(&[byte[0] ^ 4], at).expect("written");
            prove("used").expect_err("it is another image now");
            file.write_all_at(&byte, at).expect("mended");
        }
    }
    prove("used").expect("mended");
    file.set_len(length).expect("cut");
    prove("used").expect_err("in an image's own file every byte counts");
}

#[test]
fn an_image_that_is_not_its_manifests_fails_its_own_drive() {
    let bench = Bench::new();
    let file = std::fs::File::options().write(true).open(bench.path("images/box-2.img")).expect("opened");
    file.write_all_at(b"changed", 2 << 20).expect("written");
    let error = bench.flash_inventory(&bench.drives(&["a", "b", "c"]), &[]).expect_err("one is wrong");
    assert!(told(&error).starts_with("1 of 3 drives failed"), "{error}");
    assert!(bench.carries("a", "box-1") && !bench.carries("b", "box-2") && bench.carries("c", "box-3"));
    let head = std::fs::read(bench.path("b")).expect("read");
    assert!(head[..1 << 20].iter().all(|byte| *byte == 0), "nothing boots from it");
    let failed: Vec<_> = bench.records().into_iter().filter(|record| record.flash.result != Verdict::Ok).collect();
    let [record] = &failed[..] else { panic!("{failed:?}") };
    let Verdict::Failed(failure) = &record.flash.result else { panic!("it failed") };
    assert_eq!(failure.reason, Reason::WrongHash);
    assert!(failure.text.contains("box-2.manifest.json"), "{failure}");
}

#[test]
fn manifests_of_another_station_are_refused_before_anything_is_written() {
    let bench = Bench::new();
    let drives = bench.drives(&["a"]);
    let other = public(5).to_string();
    let error = bench.flash_inventory(&drives, &["--stamped-by", &other]).expect_err("another station");
    assert!(told(&error).contains("box-1.manifest.json") && told(&error).contains("signed it, not"), "{}", told(&error));
    let station = bench.text("station.pub");
    bench.flash_inventory(&drives, &["--stamped-by", &station]).expect("flashed");
    std::fs::remove_file(bench.path("images/box-2.manifest.json")).expect("removed");
    assert!(told(&bench.flash_inventory(&drives, &[]).expect_err("no manifest")).contains("no manifest beside it"));
}

#[test]
fn an_image_whose_manifest_was_taken_away_is_not_believed_when_a_station_is_named() {
    let bench = Bench::new();
    let drives = bench.drives(&["a"]);
    let (image, station) = (bench.text("images/box-1.img"), bench.text("station.pub"));
    std::fs::remove_file(bench.path("images/box-1.manifest.json")).expect("removed");
    let error = bench.flash(&[&image, "--stamped-by", &station, "--to", &drives[0]]).expect_err("nobody signed it");
    assert!(told(&error).contains("box-1.manifest.json") && told(&error).contains("--stamped-by"), "{}", told(&error));
    assert_eq!(std::fs::metadata(bench.path("a")).expect("there").len(), 0);
}

#[test]
fn files_named_by_mistake_keep_what_is_in_them() {
    let bench = Bench::new();
    let (one, two, key, log) =
        (bench.text("images/box-1.img"), bench.text("images/box-2.img"), bench.text("station"), bench.text("log"));
    std::fs::write(bench.path("notes.txt"), b"notes").expect("written");
    std::fs::write(&log, b"").expect("written");
    let manifest = bench.text("images/box-2.manifest.json");
    let (a, notes) = (bench.drives(&["a"]).remove(0), bench.text("notes.txt"));
    for target in [&two, &manifest, &log, &key] {
        let arguments = [&one, &two, "--record", &log, "--station-key", &key, "--allow-fixed", target, "--to", &a, target];
        let error = bench.flash(&[&arguments[..], &["--dry-run"]].concat()).expect_err(target);
        assert!(told(&error).starts_with("1 of 2 drives would be refused"), "{target}: {}", told(&error));
    }
    bench.flash(&[&one, "--to", &notes]).expect_err("something is in it");
    assert_eq!(std::fs::read(&notes).expect("read"), b"notes");
    bench.flash(&[&one, "--to", &notes, "--allow-fixed", &notes]).expect("it is meant");
    assert!(bench.carries("notes.txt", "box-1"));
}

#[test]
fn options_that_make_no_sense_are_told_from_drives_that_fail() {
    let bench = Bench::new();
    let drives = bench.drives(&["a", "b", "c"]);
    let [a, b, c] = [&drives[0], &drives[1], &drives[2]].map(String::as_str);
    let (one, two) = (bench.text("images/box-1.img"), bench.text("images/box-2.img"));
    let manifest = bench.text("images/box-1.manifest.json");
    for (arguments, expected) in [
        (vec![one.as_str()], "--to"),
        (vec!["--to", a], "IMAGE"),
        (vec![&one, &two, "--to", a, b, c], "2 images, 3 drives"),
        (vec![&one, &two, "--to", a, b, "--manifest", &manifest], "with several images"),
        (vec![&one, "--to", a, "--port", "["], "cannot use --port ["),
        (vec![&one, "--to", a, "--max-size", "big"], "`big` is no size"),
        (vec!["--inventory", "x.csv", "--to", a], "--images"),
    ] {
        let error = bench.flash(&arguments).expect_err(expected);
        assert!(error.is::<Usage>() && told(&error).contains(expected), "{}", told(&error));
    }
    let gone = bench.text("gone");
    let error = bench.flash(&[&one, "--to", a, &gone]).expect_err("one is not there");
    assert!(!error.is::<Usage>() && told(&error).starts_with("1 of 2 drives failed"), "{}", told(&error));
    assert!(bench.carries("a", "box-1"), "the other one is written");
}

#[test]
fn a_dry_run_writes_nothing() {
    let bench = Bench::new();
    let drives = bench.drives(&["a"]);
    bench.flash(&[&bench.text("images/box-1.img"), "--to", &drives[0], "--dry-run"]).expect("planned");
    let image = bench.text("images/box-1.img");
    let error = bench.flash(&[&image, "--to", &image, "--dry-run"]).expect_err("it is the image itself");
    assert!(told(&error).starts_with("1 of 1 drives would be refused"), "{error}");
    assert_eq!(std::fs::metadata(bench.path("a")).expect("there").len(), 0);
    assert!(Path::new(&image).exists() && bench.carries("images/box-1.img", "box-1"));
}
