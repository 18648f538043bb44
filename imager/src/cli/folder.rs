//! The folders that commands write into. One that is missing is made, the last of its path alone: a mistyped path makes no tree.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::ui::Ui;
use crate::draft::folder_of;
use crate::progress::{Event, Progress};

/// What keeps others from looking in.
const PRIVATE: u32 = 0o700;

/// Refuses what [`make`] could not make, before there is any work to lose.
pub(super) fn check(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder.exists() {
        bail!("cannot write to {}: it is no folder; name another", folder.display());
    }
    match folder_of(folder) {
        around if around.is_dir() => Ok(()),
        around => bail!("cannot make {}: there is no folder {}; make that first", folder.display(), around.display()),
    }
}

/// Makes the folder where it is missing, and says so.
pub(super) fn make(folder: &Path, ui: &Ui) -> Result<()> {
    check(folder)?;
    if !folder.is_dir() {
        std::fs::create_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        ui.event(Event::Warn { message: &format!("the folder {} was not there and has been made", folder.display()) });
    }
    Ok(())
}

/// Makes the folder a key is to lie in, and those around it, for their owner alone; says so.
pub(super) fn make_private(folder: &Path, ui: &Ui) -> Result<()> {
    if !folder.is_dir() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        ui.event(Event::Warn {
            message: &format!("the folder {} was not there and has been made, for you only", folder.display()),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_last_folder_alone_is_made() {
        let place = tempfile::tempdir().expect("temp folder");
        let ui = Ui::new(false);
        let (out, file) = (place.path().join("out"), place.path().join("file"));
        std::fs::write(&file, "").expect("written");
        check(&out).expect("can be made");
        assert!(!out.exists(), "looking makes nothing");
        for _ in 0..2 {
            make(&out, &ui).expect("made");
            assert!(out.is_dir());
        }
        for (wrong, part) in
            [(place.path().join("a/b"), "make that first"), (file.clone(), "it is no folder"), (file.join("a"), "no folder")]
        {
            let error = make(&wrong, &ui).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(!place.path().join("a").exists());
    }

    #[test]
    fn nobody_else_looks_into_a_keys_folder() {
        let place = tempfile::tempdir().expect("temp folder");
        let folder = place.path().join("config/skerry");
        for _ in 0..2 {
            make_private(&folder, &Ui::new(false)).expect("made");
        }
        for made in [folder.as_path(), folder_of(&folder)] {
            assert_eq!(std::fs::metadata(made).expect("there").permissions().mode() & 0o777, PRIVATE);
        }
    }
}
