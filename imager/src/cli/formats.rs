//! `--format`: which forms of an image are written where, and what is told of them.

use anyhow::{Result, bail};
use serde::Serialize;

use super::ui::Ui;
use crate::board::{Board, Format};
use crate::build::{Built, Report};
use crate::format::{Source, Target, Written};
use crate::image::output::{Output, Place};
use crate::progress::step;

/// What a build ends with.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    #[serde(flatten)]
    pub(super) report: Report,
    pub(super) files: Vec<Written>,
}

/// The forms asked for, each once, and none that makes no sense on the board.
pub(super) fn check(board: &Board, formats: &[Format]) -> Result<Vec<Format>> {
    let mut wanted: Vec<Format> = Vec::new();
    for format in formats {
        if !board.formats.contains(format) {
            let known = board.formats.iter().map(|format| format.as_str()).collect::<Vec<_>>().join(", ");
            bail!("cannot make the form {format} for board {}: it boots by {}; {known} work", board.name, board.boot.way());
        }
        if !wanted.contains(format) {
            wanted.push(*format);
        }
    }
    Ok(wanted)
}

/// Where the raw image is made: where it will be, or beside the first form.
pub(super) fn raw_place(targets: &[Target]) -> &Place {
    let raw = targets.iter().find(|target| target.format == Format::Raw).or(targets.first());
    &raw.expect("clap asks for one form at least, and gives raw").place
}

/// The same files, to be readable by their owner only.
pub(super) fn private(targets: Vec<Target>) -> Vec<Target> {
    targets.into_iter().map(Target::private).collect()
}

/// Writes every form of an image that was just built.
pub(super) fn write_built(built: Built, targets: &[Target], ui: &Ui) -> Result<Done> {
    let path = built.output.temporary_path();
    let source = step(ui, "map the image", || Source::open(&path, &built.inspection))?;
    Ok(Done { files: write(&source, targets, Some(built.output), ui)?, report: built.report })
}

/// Writes every form of an image; `raw` is the image itself where it may be published as one of them.
pub(super) fn write(source: &Source, targets: &[Target], mut raw: Option<Output>, ui: &Ui) -> Result<Vec<Written>> {
    let mut files = Vec::new();
    for target in targets {
        let own = if target.format == Format::Raw { raw.take() } else { None };
        let name = format!("write {}", target.format);
        files.push(step(ui, &name, || match own {
            Some(output) => target.take(source, output),
            None => target.write(source),
        })?);
    }
    Ok(files)
}

/// The files for people.
pub(super) fn summary(files: &[Written]) -> String {
    let line = |file: &Written| format!("  {:<8}{} ({})\n", file.format.as_str(), file.path.display(), mib(file.bytes));
    files.iter().map(line).collect()
}

/// A number of bytes for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::board;

    #[test]
    fn a_form_that_makes_no_sense_on_a_board_is_refused_with_those_that_do() {
        let mut board = board();
        board.formats = vec![Format::Raw, Format::Qcow2];
        assert_eq!(check(&board, &[Format::Qcow2, Format::Raw, Format::Qcow2]).expect("known"), [Format::Qcow2, Format::Raw]);
        let error = check(&board, &[Format::Raw, Format::Iso]).expect_err("refused").to_string();
        assert!(error.contains("the form iso for board test") && error.ends_with("raw, qcow2 work"), "{error}");
    }
}
