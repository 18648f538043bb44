//! `imager convert`: other forms of an image that was built or stamped before.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::args::{Common, ConvertArgs};
use super::formats;
use super::ui::Ui;
use crate::board::Format;
use crate::format::{Source, Target};
use crate::inspect::{self, Depth};
use crate::progress::step;

/// Writes the forms asked for.
pub(super) fn run(common: &Common, args: &ConvertArgs, ui: &Ui) -> Result<()> {
    let inspection = step(ui, "verify the image", || inspect::inspect(&args.image, Depth::Overview))?;
    // Where no board files are, such as in a warehouse, the image itself tells whether a form can be made of it.
    let formats: Vec<Format> = match common.board(&inspection.release.board) {
        Ok(board) => formats::check(&board, &args.forms.formats)?,
        Err(_) => args.forms.formats.clone(),
    };
    let targets = Target::all(&formats, &args.out)?;
    let targets = if is_private(&args.image)? { formats::private(targets) } else { targets };
    let source = step(ui, "map the image", || Source::open(&args.image, &inspection))?;
    let files = formats::write(&source, &targets, None, ui)?;
    ui.done(&files, &formats::summary(&files));
    Ok(())
}

/// Whether an image is its owner's only: a token may be in it, so what is made of it must be too.
fn is_private(image: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(image).with_context(|| format!("cannot read {}", image.display()))?;
    Ok(meta.permissions().mode() & 0o077 == 0)
}
