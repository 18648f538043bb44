//! Which image goes to which drive: from the command line, or from an inventory and the drives of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use machine_config::PublicKey;

use super::args::FlashArgs;
use super::record::Records;
use crate::cli::ui::Ui;
use crate::cli::{Usage, devices, stamp};
use crate::flash::carried::{Taken, taken};
use crate::flash::facts::{Facts, Roots};
use crate::flash::guard::Policy;
use crate::flash::image::{Image, Trust};
use crate::flash::plan;
use crate::progress::{Event, Progress};

/// An image and the drive it goes to.
pub(super) type Pair = (Arc<Image>, Facts);

/// All of them. What must not be written to, because it was looked at, is added to the policy.
pub(super) fn pairs(args: &FlashArgs, records: &Records, policy: &mut Policy, roots: &Roots, ui: &Ui) -> Result<Vec<Pair>> {
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
    policy: &mut Policy,
    roots: &Roots,
    ui: &Ui,
) -> Result<Vec<Pair>> {
    let trust = Trust { manifest: None, station };
    let (mut images, mut done) = (Vec::new(), Vec::new());
    for row in devices::read_inventory(inventory)? {
        let image = open(&image_of(folder, row.name.as_str())?, &trust, ui)?;
        policy.kept.extend(image.kept.iter().cloned());
        match &image.manifest {
            None => bail!("cannot flash {}: it has no manifest beside it; `imager stamp` writes both", image.path.display()),
            Some(manifest) if manifest.device.name != row.name => {
                bail!("cannot flash {}: its manifest is that of {}; stamp it again", image.path.display(), manifest.device.name)
            }
            Some(manifest) if records.has(manifest) => done.push(image),
            Some(_) => images.push(image),
        }
    }
    let pairs = match args.to.is_empty() {
        true => {
            let drives = Facts::all(roots).context("cannot list this machine's drives")?;
            plan::assign(&images, drives, policy, |facts| is_free(facts, &done, ui))
        }
        false => images.iter().cloned().zip(gather(&args.to, roots)?).collect(),
    };
    let unused = args.to.get(pairs.len()..).unwrap_or_default();
    tell_rest(images.len(), done.len(), pairs.len(), unused, args, ui)?;
    Ok(pairs)
}

/// Whether nobody needs what is on a drive that was not named: it carries no device that the log has as done.
fn is_free(facts: &Facts, done: &[Arc<Image>], ui: &Ui) -> bool {
    let path = facts.named.display();
    let message = match taken(&facts.path, done) {
        None => return true,
        Some(Taken::Carries(image)) => {
            let name = image.device_name().unwrap_or("another device");
            format!("{path} is left as it is: it carries {name}, which is in the log as good; --to {path} writes over it")
        }
        Some(Taken::Unreadable(error)) => {
            format!("{path} is left as it is: cannot read what is on it: {error}; --to {path} writes over it")
        }
    };
    ui.event(Event::Warn { message: &message });
    false
}

/// What `imager stamp` writes that a drive can hold: an image, or a disc that is a stick too.
const ENDINGS: [&str; 2] = ["img", "iso"];

/// The one image of a device.
fn image_of(folder: &Path, name: &str) -> Result<PathBuf> {
    let paths = ENDINGS.map(|ending| folder.join(format!("{name}.{ending}")));
    let mut there = paths.iter().filter(|path| path.exists());
    match (there.next(), there.next()) {
        (Some(path), None) => Ok(path.clone()),
        (Some(one), Some(other)) => {
            bail!(
                "cannot choose the image of {name}: there are {} and {}; keep one in that folder",
                one.display(),
                other.display()
            )
        }
        (None, _) => bail!(
            "cannot find the image of {name}: there is neither {} nor {}; `imager stamp` makes it",
            paths[0].display(),
            paths[1].display()
        ),
    }
}

/// Says which devices are left, and which drives.
fn tell_rest(images: usize, done: usize, pairs: usize, unused: &[PathBuf], args: &FlashArgs, ui: &Ui) -> Result<()> {
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
    parts.extend(told_unused(unused));
    if !parts.is_empty() {
        ui.event(Event::Warn { message: &parts.join("; ") });
    }
    Ok(())
}

/// What is said of drives that were named, but that no device is left for.
fn told_unused(drives: &[PathBuf]) -> Option<String> {
    let names: Vec<_> = drives.iter().map(|drive| drive.display().to_string()).collect();
    (!names.is_empty()).then(|| format!("nothing is written to {}: no device is left for it", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_that_nothing_is_left_for_are_named() {
        assert_eq!(told_unused(&[]), None);
        let drives = ["/dev/sdb", "/dev/sdc"].map(PathBuf::from);
        assert_eq!(told_unused(&drives).as_deref(), Some("nothing is written to /dev/sdb, /dev/sdc: no device is left for it"));
    }

    #[test]
    fn a_disc_is_found_as_an_image_is_and_of_two_none_is_guessed() {
        let folder = tempfile::tempdir().expect("temp folder");
        let make = |name: &str| std::fs::write(folder.path().join(name), "").expect("written");
        let found = || image_of(folder.path(), "box-1").map_err(|error| error.to_string());
        make("box-1.manifest.json");
        let error = found().expect_err("none");
        assert!(error.contains("box-1.img") && error.contains("box-1.iso") && error.contains("imager stamp"), "{error}");
        make("box-1.iso");
        assert_eq!(found(), Ok(folder.path().join("box-1.iso")));
        make("box-1.img");
        let error = found().expect_err("two");
        assert!(error.contains("box-1.img") && error.contains("box-1.iso") && error.contains("keep one"), "{error}");
    }
}
