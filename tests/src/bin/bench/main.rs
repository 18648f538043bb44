//! `make bench`: the figures, one JSON line each on standard output and in `target/bench.jsonl`. What is being done goes to standard error.
//! Ends with an error when a figure does not keep to its bound, once all are measured.
//!
//! Images carry the k3s stand-in, so that the figures are of Skerry and the same on every machine, whatever its network reaches.

mod boot;
mod build;
mod calls;
mod flash;
mod size;
mod stamp;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use skerry_tests::figure::{Figure, all_met};
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

const MEASURES: [(&str, Measure); 7] = [
    ("stamps", stamp::rate),
    ("flashing, beside dd and bmaptool", flash::ratios),
    ("boots of a configured device and of the floor", boot::ratio),
    ("memory and calls of a running device", calls::running),
    ("memory before containerd", boot::memory),
    ("sizes of the images", size::of_images),
    ("builds of the images", build::times),
];

/// Measures the groups whose words hold one of the program's arguments; without arguments, all. With arguments the images that are there are used.
fn bench() -> Result<()> {
    let folder = places::test_images();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.is_empty() {
        images::make_all(&folder)?;
    }
    let lab = Lab::open(&folder)?;
    let path = places::target().join("bench.jsonl");
    let mut kept = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut missed = Vec::new();
    let is_wanted = |what: &str| wanted.is_empty() || wanted.iter().any(|word| what.contains(word.as_str()));
    let groups: Vec<_> = MEASURES.into_iter().filter(|(what, _)| is_wanted(what)).collect();
    ensure!(!groups.is_empty(), "nothing of that name is measured; there are: {}", MEASURES.map(|(what, _)| what).join("; "));
    for (what, measure) in groups {
        eprintln!("bench: {what}");
        for figure in measure(&lab).with_context(|| format!("cannot measure {what}"))? {
            println!("{figure}");
            writeln!(kept, "{figure}").with_context(|| format!("cannot write {}", path.display()))?;
            missed.extend(figure.missed().then(|| figure.figure.to_string()));
        }
    }
    eprintln!("bench: kept in {}", path.display());
    all_met(&missed)
}
