//! A bench with an image, a station's key and a log, at which the real program flashes drives.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use imager::flash::outcome::Reason;
use imager::flash::record::{Record, chain};
use imager::stamp::station;

use crate::MIB;
use crate::rig::{self, Drive};

const PAUSE: Duration = Duration::from_millis(50);
/// The image's length; it has a hole of 6 MiB in it.
const IMAGE: u64 = 24 * MIB;
/// Partitions of a disk that was in use.
const OLD: [(&str, u64, u64); 3] = [("OLD-1", 1, 20), ("OLD-2", 26, 31), ("OLD-3", 32, 38)];

/// The bench.
pub(crate) struct Station {
    folder: tempfile::TempDir,
}

/// What came of a run.
pub(crate) struct Flashed {
    /// The program's exit code.
    pub(crate) code: i32,
    /// What it says of each drive, in their order.
    pub(crate) results: Vec<Result<(), Reason>>,
    /// All it says.
    pub(crate) text: String,
}

impl Station {
    pub(crate) fn new() -> Self {
        let station = Self { folder: tempfile::tempdir().expect("temp folder") };
        station::make(&station.path("key")).expect("a key");
        let image = station.path("image");
        File::create(&image).and_then(|file| file.set_len(IMAGE)).expect("made");
        partition(&image, &[("SYSTEM", 1, 8), ("CONTENT", 16, 20)]);
        let file = File::options().write(true).open(&image).expect("opened");
        file.write_all_at(&noise(8 * MIB), MIB).expect("written");
        file.write_all_at(&noise(4 * MIB), 16 * MIB).expect("written");
        station
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// The log's path.
    pub(crate) fn log(&self) -> String {
        self.text("log")
    }

    /// The path of the station's public key.
    pub(crate) fn public(&self) -> String {
        self.text("key.pub")
    }

    pub(crate) fn image_bytes(&self) -> Vec<u8> {
        std::fs::read(self.path("image")).expect("read")
    }

    /// The log's records, once the station's signatures and their order hold.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records_in(&self.path("log"))
    }

    /// The records of another log.
    pub(crate) fn records_in(&self, log: &Path) -> Vec<Record> {
        let public = station::load_public(&self.path("key.pub")).expect("a key");
        let log = chain::read(&std::fs::read(log).expect("read"), Some(&public)).expect("sound");
        assert_eq!(log.torn_bytes, 0);
        log.records().cloned().collect()
    }

    /// A disk of this size that was in use: three partitions, two of them beyond what an image reaches, with file systems.
    pub(crate) fn used_disk(&self, bytes: u64) -> Vec<u8> {
        let disk = self.path("old");
        std::fs::write(&disk, noise(bytes)).expect("written");
        partition(&disk, &OLD);
        for (from, size) in [(26, "5M"), (32, "6M")] {
            let offset = format!("offset={}", from * MIB);
            tool("mkfs.ext4", &["-q", "-F", "-E", &offset, disk.to_str().expect("text"), size]);
        }
        std::fs::read(&disk).expect("read")
    }

    /// A disk of this size that is one file system, without a partition table.
    pub(crate) fn whole_disk(&self, bytes: u64) -> Vec<u8> {
        let disk = self.path("whole");
        File::create(&disk).and_then(|file| file.set_len(bytes)).expect("made");
        tool("mkfs.ext4", &["-q", "-F", disk.to_str().expect("text")]);
        std::fs::read(&disk).expect("read")
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imager"));
        command.args(arguments).env("SKERRY_STATION_KEY", self.path("key")).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub(crate) fn imager(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().expect("started")
    }

    /// Flashes the image to all drives at once.
    pub(crate) fn flash(&self, drives: &[Drive]) -> Flashed {
        self.flash_into(&self.path("log"), drives)
    }

    /// The same with another log.
    pub(crate) fn flash_into(&self, log: &Path, drives: &[Drive]) -> Flashed {
        self.flash_with(log, drives, &[], |_, _| {})
    }

    /// The same with more options; `look` sees the running program and what it has told, again and again.
    pub(crate) fn flash_with(&self, log: &Path, drives: &[Drive], more: &[&str], mut look: impl FnMut(&Child, &str)) -> Flashed {
        let (image, log) = (self.text("image"), log.to_str().expect("text"));
        let mut arguments = vec!["--json", "flash", &image, "--yes", "--record", log];
        arguments.extend(more);
        arguments.push("--to");
        arguments.extend(drives.iter().map(|drive| drive.path.to_str().expect("text")));
        let mut command = self.program(&arguments);
        for drive in drives {
            command.arg("--allow-fixed").arg(&drive.path);
        }
        let out = File::create(self.path("out")).expect("made");
        let errors = File::create(self.path("errors")).expect("made");
        let child = command.stdout(out).stderr(errors).spawn().expect("started");
        let code = self.wait(child, drives, &mut look);
        let read = |name| std::fs::read_to_string(self.path(name)).expect("read");
        let (out, errors) = (read("out"), read("errors"));
        Flashed { code, results: results(&out, drives), text: out + &errors }
    }

    /// Flashes the image to all drives, none of which may hang, before a wide terminal; what that was sent.
    pub(crate) fn flash_on_terminal(&self, drives: &[Drive]) -> String {
        let quoted = |text: &str| format!(" '{text}'");
        let (image, log) = (self.text("image"), self.log());
        let mut line = "stty columns 200; exec".to_owned();
        line.extend([env!("CARGO_BIN_EXE_imager"), "flash", &image, "--yes", "--record", &log, "--to"].map(quoted));
        let paths = || drives.iter().map(|drive| drive.path.to_str().expect("text"));
        line.extend(paths().map(quoted));
        line.extend(paths().map(|path| quoted("--allow-fixed") + &quoted(path)));
        let mut command = Command::new("script");
        command.args(["--quiet", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm");
        let output = command.env("SKERRY_STATION_KEY", self.path("key")).stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("`script` comes with every Debian").stdout).into_owned()
    }

    /// Waits for the program's end. A thread that waits for a drive cannot end before the drive answers, so drives answer once all is told.
    fn wait(&self, mut child: Child, drives: &[Drive], look: &mut dyn FnMut(&Child, &str)) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("waited") {
                return status.code().expect("it was not killed");
            }
            drives.iter().for_each(Drive::take_away);
            let told = std::fs::read_to_string(self.path("out")).expect("read");
            look(&child, &told);
            if told.contains("\"done\"") || began.elapsed() > rig::deadline() {
                drives.iter().filter(|drive| drive.hangs()).for_each(Drive::release);
            }
            assert!(began.elapsed() < 2 * rig::deadline(), "the program does not end");
            std::thread::sleep(PAUSE);
        }
    }
}

/// What the program's report says of each drive.
fn results(out: &str, drives: &[Drive]) -> Vec<Result<(), Reason>> {
    let events = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let done = events.into_iter().find(|event| event["event"] == "done").unwrap_or_else(|| panic!("no report: {out}"));
    let reports = done["report"].as_array().expect("a list").iter();
    let mut told: HashMap<String, Result<(), Reason>> = HashMap::new();
    for report in reports {
        let device = report["device"].as_str().expect("text").to_owned();
        let reason = || serde_json::from_value(report["failure"]["reason"].clone()).expect("a reason");
        told.insert(device, if report["ok"] == true { Ok(()) } else { Err(reason()) });
    }
    drives.iter().map(|drive| told[drive.path.to_str().expect("text")]).collect()
}

/// Partitions, each with a name, its first and its last mebibyte.
fn partition(disk: &Path, partitions: &[(&str, u64, u64)]) {
    let mut arguments = vec!["-o".to_owned()];
    for (number, (name, from, to)) in (1..).zip(partitions) {
        let (first, last) = (from * MIB / 512, (to + 1) * MIB / 512 - 1);
        arguments.extend(["-n".into(), format!("{number}:{first}:{last}"), "-c".into(), format!("{number}:{name}")]);
    }
    arguments.push(disk.to_str().expect("text").to_owned());
    tool("sgdisk", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Tells the kernel of the old partitions, for kernels that are built without the code that looks for them.
pub(crate) fn tell_partitions(device: &str) {
    for (number, (_, from, to)) in (1..).zip(OLD) {
        let (first, count) = (from * MIB / 512, (to + 1 - from) * MIB / 512);
        // Fails where the kernel found it.
        tool("addpart", &[device, &format!("{number}"), &first.to_string(), &count.to_string()]);
    }
}

/// Bytes without a pattern, the same in every run.
fn noise(bytes: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

/// What another program says.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap_or_else(|error| panic!("{name}: {error}; run `make setup`"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
