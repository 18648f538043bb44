//! How long a build takes: with everything cached, and with nothing cached but the downloads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use skerry_tests::figure::{Figure, median};
use skerry_tests::images::{self, Inputs, TestImage};
use skerry_tests::lab::Lab;

/// Warm builds; the figure is their median.
const BUILDS: usize = 5;

/// Build times of every board's image; under the names without a board, of the virtual PC's.
pub(crate) fn times(lab: &Lab) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let out = folder.path().join("bench.img");
    let mut figures = Vec::new();
    for image in TestImage::BOARDS {
        let inputs = Inputs { config: None, ..image.inputs(lab.images()) };
        let warm = (0..BUILDS).map(|_| Ok(inputs.build(&out)?.as_secs_f64())).collect::<Result<Vec<f64>>>()?;
        let warm = median(&warm).context("no builds")?;
        if image == TestImage::Seeded {
            let cache = folder.path().join("cache");
            link_packages(&images::cache()?, &cache)?;
            let cold = Inputs { cache: Some(cache), ..inputs }.build(&out)?.as_secs_f64();
            figures.push(Figure::new("image_build_warm_seconds", warm, "s").at_most(10.0));
            figures.push(Figure::new("image_build_cold_seconds", cold, "s"));
        }
        figures.push(Figure::new(format!("image_build_warm_seconds_{}", image.board()), warm, "s").at_most(15.0));
    }
    Ok(figures)
}

/// A cache that holds the packages of another and nothing taken out of them or derived from them.
fn link_packages(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(FOLDER), to.join(FOLDER));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if is_package(&entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))? {
            let target = to.join(entry.file_name());
            let linked = fs::hard_link(entry.path(), &target).or_else(|_| fs::copy(entry.path(), &target).map(|_| ()));
            linked.with_context(|| format!("cannot fill {}", to.display()))?;
        }
    }
    Ok(())
}

/// The folder of a cache that holds files under their own hash: packages as downloaded, and what was taken out of them.
const FOLDER: &str = "sha256";

/// Whether the file is a package, which is an `ar` archive.
fn is_package(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 8];
    match File::open(path)?.read_exact(&mut magic) {
        Ok(()) => Ok(&magic == b"!<arch>\n"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
