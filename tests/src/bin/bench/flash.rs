//! How long flashing with read-back takes, over what `dd` and `bmaptool` take for the same bytes, and how eight drives at once compare with one.
//!
//! Drives are loop devices over files in the target folder, with direct I/O, so that neither writing nor reading back ends in memory; the files are
//! written once before anything is measured, so that no run has to find room for them. The image is in the page cache for all who read it. What is
//! compared runs by turns in one round, each after a `sync`, and a figure is the ratio of the medians over the rounds.

mod drive;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use imager::bmap::Bmap;
use skerry_tests::figure::{Figure, median};
use skerry_tests::images::{self, Inputs, TestImage};
use skerry_tests::lab::Lab;
use skerry_tests::places;

use drive::Drive;

const ROUNDS: usize = 5;
const DRIVES: usize = 8;
/// What the image carries in place of k3s and its container images, which weigh about as much.
const FILLING_BYTES: u64 = 256 << 20;
/// What `dd` reads and writes at once; larger blocks make it no faster.
const DD_BLOCK: &str = "bs=4M";

/// The three ratios.
///
/// `dd` writes the mapped bytes, one after the other, with `oflag=direct conv=fsync`, and reads as many back with `iflag=direct`; it compares nothing.
/// `imager flash` writes the same bytes in the same way, reads them back with some requests at once, hashes the image and compares.
/// `bmaptool copy` checks the image against the map's checksums while it writes, and reads nothing back. Eight drives
/// share one disk here: linear means eight times one drive, up to what eight `dd` at once get out of that disk.
pub(crate) fn ratios(lab: &Lab) -> Result<Vec<Figure>> {
    let bench = Bench::new(lab)?;
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        bench.round(&mut times)?;
    }
    eprintln!("bench: {times:?}, {} mapped bytes", bench.mapped_bytes);
    let [dd, bmaptool, one, eight, eight_dd] =
        [&times.dd, &times.bmaptool, &times.flash, &times.flash_eight, &times.dd_eight].map(|times| median(times));
    let (dd, bmaptool, one) = (dd.context("no rounds")?, bmaptool.context("no rounds")?, one.context("no rounds")?);
    let (eight, eight_dd) = (eight.context("no rounds")?, eight_dd.context("no rounds")?);
    Ok(vec![
        Figure::new("flash_verify_over_dd_ratio", dd / one, "ratio").at_least(0.95),
        Figure::new("flash_verify_over_bmaptool_ratio", bmaptool / one, "ratio").at_least(1.0),
        Figure::new("flash_8_targets_over_linear_ratio", one.max(eight_dd) / eight, "ratio").at_least(0.9),
    ])
}

/// Seconds, round by round.
#[derive(Debug, Default)]
struct Times {
    dd: Vec<f64>,
    bmaptool: Vec<f64>,
    flash: Vec<f64>,
    flash_eight: Vec<f64>,
    dd_eight: Vec<f64>,
}

/// Image, map and drives. Drives are dropped before the folder they lie in.
///
/// `dd` has drives of its own: flashing drops the blocks that the image has not, and whoever writes there next must find room again.
struct Bench {
    image: PathBuf,
    bmap: PathBuf,
    /// The mapped bytes alone, one after the other.
    payload: PathBuf,
    mapped_bytes: u64,
    drives: Vec<Drive>,
    plain_drives: Vec<Drive>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(lab: &Lab) -> Result<Self> {
        let folder = tempfile::tempdir_in(places::in_target("bench")?)?;
        let path = |name: &str| folder.path().join(name);
        let (image, bmap, payload) = (path("image.img"), path("image.img.bmap"), path("payload"));
        write_noise(&path("filling"), FILLING_BYTES)?;
        Inputs { archive: path("filling"), ..TestImage::Seeded.inputs(lab.images()) }.build(&image)?;
        let file = File::open(&image)?;
        let map = Bmap::parse(&std::fs::read_to_string(&bmap).context("there is no map beside the image")?)?;
        let mapped_bytes = write_payload(&file, &map, &payload)?;
        let drives =
            |name: &str, bytes| (0..DRIVES).map(|n| Drive::new(&path(&format!("{name}-{n}")), bytes)).collect::<Result<Vec<_>>>();
        let (drives, plain_drives) = (drives("drive", map.image_bytes)?, drives("plain", mapped_bytes)?);
        std::io::copy(&mut File::open(&image)?, &mut std::io::sink())?; // into the page cache
        Ok(Self { image, bmap, payload, mapped_bytes, drives, plain_drives, _folder: folder })
    }

    fn round(&self, times: &mut Times) -> Result<()> {
        let one = &self.drives[..1];
        times.dd.push(self.dd(&self.plain_drives[..1])?);
        times.flash.push(self.flash(one)?);
        times.bmaptool.push(self.bmaptool(&one[0])?);
        times.dd_eight.push(self.dd(&self.plain_drives)?);
        times.flash_eight.push(self.flash(&self.drives)?);
        Ok(())
    }

    /// Writes the payload to each drive at once, then reads as much back.
    fn dd(&self, drives: &[Drive]) -> Result<f64> {
        let write = |drive: &Drive| {
            let mut command = Command::new("dd");
            command.arg(pair("if=", &self.payload)).arg(pair("of=", drive.path()));
            command.args([DD_BLOCK, "oflag=direct", "conv=fsync,notrunc"]);
            command
        };
        let read = |drive: &Drive| {
            let mut command = Command::new("dd");
            command.arg(pair("if=", drive.path())).arg("of=/dev/null").args([DD_BLOCK, "iflag=direct,count_bytes"]);
            command.arg(format!("count={}", self.mapped_bytes));
            command
        };
        Ok(timed(drives.iter().map(write))? + timed(drives.iter().map(read))?)
    }

    fn bmaptool(&self, drive: &Drive) -> Result<f64> {
        let mut command = Command::new("bmaptool");
        command.arg("copy").arg("--bmap").arg(&self.bmap).arg(&self.image).arg(drive.path());
        timed([command])
    }

    fn flash(&self, drives: &[Drive]) -> Result<f64> {
        let mut command = Command::new(images::imager());
        command.arg("flash").arg(&self.image);
        for drive in drives {
            command.arg("--to").arg(drive.path()).arg("--allow-fixed").arg(drive.path());
        }
        command.arg("--yes");
        timed([command])
    }
}

fn pair(key: &str, path: &Path) -> OsString {
    let mut text = OsString::from(key);
    text.push(path);
    text
}

/// Runs the commands at once; seconds until the last has ended. What else is to be written goes to the disk before.
fn timed(commands: impl IntoIterator<Item = Command>) -> Result<f64> {
    rustix::fs::sync();
    let begin = Instant::now();
    let children = commands.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    children.into_iter().try_for_each(finish)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn start(mut command: Command) -> Result<(String, Child)> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot run {name}; `make setup` installs what the bench needs"))?;
    Ok((name, child))
}

fn finish((name, child): (String, Child)) -> Result<()> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(())
}

/// A file that nothing makes smaller.
fn write_noise(path: &Path, bytes: u64) -> Result<()> {
    let mut out = File::create(path)?;
    std::io::copy(&mut File::open("/dev/urandom")?.take(bytes), &mut out)?;
    Ok(())
}

/// The mapped ranges, one after the other, filled up to whole blocks; how many bytes they are.
fn write_payload(image: &File, map: &Bmap, out: &Path) -> Result<u64> {
    let mut out = File::create(out)?;
    let mut total = 0;
    for range in &map.ranges {
        let bytes = map.bytes_of(range);
        let mut window = imager::image::window::Window::new(image, bytes.start, bytes.end - bytes.start);
        total += std::io::copy(&mut window, &mut out)?;
    }
    let filling = total.next_multiple_of(imager::bmap::BLOCK_BYTES) - total;
    std::io::copy(&mut std::io::repeat(0).take(filling), &mut out)?;
    out.flush()?;
    out.sync_all()?;
    Ok(total + filling)
}
