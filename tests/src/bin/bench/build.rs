//! How long a build takes: with everything cached, and with nothing cached but the downloads.

use anyhow::{Context, Result};
use skerry_tests::cold;
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
    for image in TestImage::boards() {
        let inputs = Inputs { config: None, ..image.inputs(lab.images()) };
        let warm = (0..BUILDS).map(|_| Ok(inputs.build(&out)?.as_secs_f64())).collect::<Result<Vec<f64>>>()?;
        let warm = median(&warm).context("no builds")?;
        if image == TestImage::Seeded {
            let cache = folder.path().join("cache");
            cold::cache(&images::cache()?, &cache)?;
            let cold = Inputs { cache: Some(cache), ..inputs }.build(&out)?.as_secs_f64();
            figures.push(Figure::new("image_build_warm_seconds", warm, "s").at_most(10.0));
            figures.push(Figure::new("image_build_cold_seconds", cold, "s"));
        }
        figures.push(Figure::new(format!("image_build_warm_seconds_{}", image.board()), warm, "s").at_most(15.0));
    }
    Ok(figures)
}
