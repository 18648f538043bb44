//! `make bench`: the figures, one JSON line each on standard output and in `target/bench.jsonl`. What is being done goes to standard error.
//!
//! Images carry the k3s stand-in, so that the figures are of Skerry and the same on every machine, whatever its network reaches.

mod boot;
mod build;
mod calls;
mod size;
mod stamp;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use skerry_tests::figure::Figure;
use skerry_tests::lab::Lab;
use skerry_tests::{images, places};

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A group of figures and how they are measured.
type Measure = fn(&Lab) -> Result<Vec<Figure>>;

const MEASURES: [(&str, Measure); 6] = [
    ("stamps", stamp::rate),
    ("boots of a configured device and of the floor", boot::ratio),
    ("memory and calls of a running device", calls::running),
    ("memory before containerd", boot::memory),
    ("sizes of the images", size::of_images),
    ("builds of the images", build::times),
];

fn bench() -> Result<()> {
    let folder = places::test_images();
    images::make_all(&folder)?;
    let lab = Lab::open(&folder)?;
    let path = places::target().join("bench.jsonl");
    let mut kept = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut missed = 0;
    for (what, measure) in MEASURES {
        eprintln!("bench: {what}");
        for figure in measure(&lab).with_context(|| format!("cannot measure {what}"))? {
            println!("{figure}");
            writeln!(kept, "{figure}").with_context(|| format!("cannot write {}", path.display()))?;
            missed += u32::from(figure.missed());
        }
    }
    eprintln!("bench: kept in {}; {missed} figures do not reach their bound", path.display());
    Ok(())
}
