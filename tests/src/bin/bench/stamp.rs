//! How many devices one core stamps in a second, and that not a byte of the base was changed meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use imager::image::digest::{Digest, Hasher};
use imager::stamp::base::Base;
use imager::stamp::inventory::{self, Row};
use imager::stamp::plan::{Facts, Stamp, plan};
use imager::stamp::press::Press;
use machine_config::{FleetTrust, SigningKey, judge_for_fleet};
use skerry_tests::figure::{Figure, median};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::places;

/// Devices stamped in one round, and rounds; the figure is the median of the rounds.
const DEVICES: usize = 500;
const ROUNDS: usize = 5;

/// Stamps per second of one core, for SEED alone.
///
/// In it, for each device: its row planned (join token and device key made, the common configuration fitted to it), SEED encoded and its content hashed, the
/// manifest signed, and SEED written into an open copy of the base. Not in it: what is done once for all (the inventory read, the configuration judged), and
/// what depends on the image's length and not on the stamp: copying the base, and hashing what stands after SEED for the manifest's `image.sha256`, which
/// `imager stamp` does on all cores; one digest stands for it here.
pub(crate) fn rate(lab: &Lab) -> Result<Vec<Figure>> {
    let path = lab.image(TestImage::Blank);
    let before = digest(&path)?;
    let folder = tempfile::tempdir_in(places::in_target("bench")?)?;
    let copy = folder.path().join("copy.img");
    fs::copy(&path, &copy).context("cannot copy the base")?;
    let bench = Bench::new(lab, &path)?;
    let out = File::options().read(true).write(true).open(&copy)?;
    let rates = (0..ROUNDS).map(|_| bench.round(&out)).collect::<Result<Vec<f64>>>()?;
    eprintln!("bench: stamps per second {rates:?}");
    ensure!(digest(&path)? == before, "stamping changed the base");
    bench.check_untouched(&path, &out)?;
    Ok(vec![Figure::new("stamps_per_second", median(&rates).context("no rounds")?, "1/s").at_least(1000.0)])
}

/// Everything that is there before the first stamp.
struct Bench {
    press: Press,
    fleet: FleetTrust,
    config: Vec<u8>,
    rows: Vec<Row>,
    stand_in: Digest,
}

impl Bench {
    fn new(lab: &Lab, path: &Path) -> Result<Self> {
        let base = Base::open(path)?;
        let seed = base.seed.as_ref().context("the base is of no fleet")?;
        let (fleet, config) = (seed.fleet.clone(), lab.fleet()?.sign(&lab.fleet()?.config()?)?);
        let press = Press::new(base, SigningKey::from_bytes(&[1; 32]))?;
        let board = &press.base().release.board;
        let row = |n| format!("store-{n},SERIAL-{n},{board},https://hub.example,{},auto,auto\n", "ab".repeat(32));
        let rows: String = (0..DEVICES).map(row).collect();
        let text = format!("name,serial,board,hub,hub_pin,join_token,identity\n{rows}");
        Ok(Self { press, fleet, config, rows: inventory::parse(text.as_bytes())?, stand_in: Digest::of(b"") })
    }

    /// Stamps every device once; how many that were in a second.
    fn round(&self, out: &File) -> Result<f64> {
        let config = judge_for_fleet(&self.config, &self.fleet.trust())?;
        let release = &self.press.base().release;
        let facts = Facts {
            board: &release.board,
            k3s_roles: &release.k3s_roles,
            fleet: &self.fleet,
            configs: &BTreeMap::new(),
            common_config: Some((Path::new("common.yaml"), &config)),
            identities: &BTreeMap::new(),
        };
        let begin = Instant::now();
        let mut written = 0;
        for row in &self.rows {
            for stamp in plan(std::slice::from_ref(row), &facts, |_, into| getrandom::fill(into))? {
                written += self.stamp(&stamp, out)?;
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(written > 0, "nothing was stamped");
        #[allow(clippy::cast_precision_loss, reason = "a small number")]
        Ok(self.rows.len() as f64 / seconds)
    }

    /// SEED into the open copy, and the manifest; its length, so that no compiler leaves it out.
    fn stamp(&self, stamp: &Stamp, out: &File) -> Result<usize> {
        out.write_all_at(&stamp.seed(), self.press.base().opened.seed().start)?;
        Ok(self.press.manifest(stamp, self.stand_in).len())
    }

    /// Outside SEED the copy that was stamped equals the base, byte for byte.
    fn check_untouched(&self, base: &Path, copy: &File) -> Result<()> {
        let (base, seed) = (File::open(base)?, self.press.base().opened.seed());
        let length = base.metadata()?.len();
        ensure!(copy.metadata()?.len() == length, "stamping changed the length");
        let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for range in [0..seed.start, seed.end..length] {
            let mut at = range.start;
            while at < range.end {
                let count = usize::try_from((range.end - at).min(1 << 20)).expect("a MiB at most");
                base.read_exact_at(&mut buffers.0[..count], at)?;
                copy.read_exact_at(&mut buffers.1[..count], at)?;
                ensure!(buffers.0[..count] == buffers.1[..count], "stamping changed bytes of the base after {at}");
                at += count as u64;
            }
        }
        Ok(())
    }
}

fn digest(path: &Path) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut file = File::open(path)?;
    io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hasher.finish())
}
