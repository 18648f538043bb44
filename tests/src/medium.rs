//! A medium that runs from RAM: made from a disk image, stamped like a device's, to be started from.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use imager::board::Format;
use imager::format::{Source, Target};
use imager::inspect::{self, Depth};
use imager::seed_place;
use machine_config::seed::{self, Seed};

/// Makes the form `format` of the disk image at `out`, without a SEED of its own.
pub fn make(image: &Path, format: Format, out: &Path) -> Result<PathBuf> {
    let inspection = inspect::inspect(image, Depth::Overview).with_context(|| format!("cannot use {}", image.display()))?;
    let source = Source::open(image, &inspection)?;
    for target in Target::all(&[format], out)? {
        target.write(&source)?;
    }
    Ok(out.to_owned())
}

/// Writes this SEED into a medium.
pub fn stamp(medium: &Path, seed: &Seed) -> Result<()> {
    let file = File::options().read(true).write(true).open(medium)?;
    let place = seed_place::find(&file).with_context(|| format!("cannot stamp {}", medium.display()))?;
    file.write_all_at(&seed::encode(seed)?, place.offset)?;
    Ok(())
}

/// Unpacks a netboot archive into a folder beside it.
pub fn unpack(archive: &Path) -> Result<PathBuf> {
    let folder = archive.with_extension("");
    fs::create_dir(&folder)?;
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let mut entry = entry?;
        ensure!(entry.unpack_in(&folder)?, "{:?} leads out of its folder", entry.path());
    }
    Ok(folder)
}
