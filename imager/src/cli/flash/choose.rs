//! Which image goes to which drive: from the command line, or from an inventory and the drives of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use machine_config::PublicKey;

use super::args::FlashArgs;
use super::record::Records;
use crate::cli::ui::Ui;
use crate::cli::{Usage, devices, stamp};
use crate::flash::facts::{Facts, Roots};
use crate::flash::guard::Policy;
use crate::flash::image::{Image, Trust};
use crate::flash::plan;
use crate::progress::{Event, Progress};

/// An image and the drive it goes to.
pub(super) type Pair = (Arc<Image>, Facts);

/// All of them.
pub(super) fn pairs(args: &FlashArgs, records: &Records, policy: &Policy, roots: &Roots, ui: &Ui) -> Result<Vec<Pair>> {
    let station = args.stamped_by.as_deref().map(stamp::public_key).transpose()?;
    match (&args.inventory, &args.folder) {
        (Some(inventory), Some(folder)) => of_inventory(args, inventory, folder, station, records, policy, roots, ui),
        (None, _) | (_, None) => of_arguments(args, station, roots, ui),
    }
}

fn gather(paths: &[PathBuf], roots: &Roots) -> Result<Vec<Facts>> {
    let one = |path: &PathBuf| Facts::gather(path, roots).with_context(|| format!("cannot look at {}", path.display()));
    paths.iter().map(one).collect()
}

fn open(path: &Path, trust: &Trust, ui: &Ui) -> Result<Arc<Image>> {
    let image = Image::open(path, trust)?;
    if image.manifest.is_some() && trust.station.is_none() {
        let message = format!(
            "whose signature the manifest of {} has was not checked: name that station with --stamped-by",
            path.display()
        );
        ui.event(Event::Warn { message: &message });
    }
    if image.claims.is_empty() && image.range_sums_known() == 0 {
        let message =
            format!("nothing tells what {} should hash to: no manifest, .sha256 or .bmap lies beside it", path.display());
        ui.event(Event::Warn { message: &message });
    }
    Ok(Arc::new(image))
}

fn of_arguments(args: &FlashArgs, station: Option<PublicKey>, roots: &Roots, ui: &Ui) -> Result<Vec<Pair>> {
    if args.manifest.is_some() && args.images.len() != 1 {
        return Err(Usage::new(
            "cannot use --manifest with several images: it belongs to one; put NAME.manifest.json beside each",
        )
        .into());
    }
    let trust = Trust { manifest: args.manifest.clone(), station };
    let images = args.images.iter().map(|path| open(path, &trust, ui)).collect::<Result<Vec<_>>>()?;
    plan::pair(&images, gather(&args.to, roots)?).map_err(|error| Usage::new(error.to_string()).into())
}

#[expect(clippy::too_many_arguments, reason = "each is what one option names; a struct of them would be FlashArgs again")]
fn of_inventory(
    args: &FlashArgs,
    inventory: &Path,
    folder: &Path,
    station: Option<PublicKey>,
    records: &Records,
    policy: &Policy,
    roots: &Roots,
    ui: &Ui,
) -> Result<Vec<Pair>> {
    let trust = Trust { manifest: None, station };
    let mut images = Vec::new();
    let mut done = 0;
    for row in devices::read_inventory(inventory)? {
        let image = open(&folder.join(format!("{}.img", row.name)), &trust, ui)?;
        match &image.manifest {
            None => bail!("cannot flash {}: it has no manifest beside it; `imager stamp` writes both", image.path.display()),
            Some(manifest) if manifest.device.name != row.name => {
                bail!("cannot flash {}: its manifest is that of {}; stamp it again", image.path.display(), manifest.device.name)
            }
            Some(manifest) if records.has(manifest) => done += 1,
            Some(_) => images.push(image),
        }
    }
    let pairs = match args.to.is_empty() {
        true => plan::assign(&images, Facts::all(roots).context("cannot list this machine's drives")?, policy),
        false => images.iter().cloned().zip(gather(&args.to, roots)?).collect(),
    };
    tell_rest(images.len(), done, pairs.len(), args, ui)?;
    Ok(pairs)
}

/// Says which devices are left.
fn tell_rest(images: usize, done: usize, pairs: usize, args: &FlashArgs, ui: &Ui) -> Result<()> {
    if images > 0 && pairs == 0 {
        bail!(
            "cannot flash {images} devices: no drive is plugged in that may be written to; `imager flash … --to DEVICE --dry-run` says why"
        );
    }
    let mut parts = Vec::new();
    if done > 0 {
        parts.push(format!("{done} devices are in the log already"));
    }
    if images > pairs {
        let how = match args.record {
            Some(_) => "run the same again with the next drives",
            None => "with --record, running the same again goes on with them",
        };
        parts.push(format!("{} devices have no drive yet; {how}", images - pairs));
    }
    if !parts.is_empty() {
        ui.event(Event::Warn { message: &parts.join("; ") });
    }
    Ok(())
}
