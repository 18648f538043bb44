//! Finds the workspace: the folder whose `kernel/components.toml` the commands mean when none is named.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

const MARK: &str = "kernel/components.toml";

/// The workspace around the current folder, else around this program.
pub(super) fn find() -> Result<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let found = starts.iter().flatten().find_map(|start| above(start));
    found.ok_or_else(|| {
        anyhow!("cannot find {MARK} here or above: run imager inside the workspace, or name the folder with --kernel-dir")
    })
}

fn above(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| folder.join(MARK).is_file()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_from_below_and_not_from_elsewhere() {
        let folder = tempfile::tempdir().expect("temp folder");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("made");
        assert_eq!(above(&below), None);
        std::fs::create_dir(folder.path().join("kernel")).expect("made");
        std::fs::write(folder.path().join(MARK), "").expect("written");
        assert_eq!(above(&below).as_deref(), Some(folder.path()));
    }
}
