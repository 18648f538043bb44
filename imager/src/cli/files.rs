//! `imager files --into`: lays a test component's files out as a folder, so that a program among them finds what it loads.
//!
//! Copies, because nothing in the cache is marked as executable. What is there and complete is left alone.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::components::assemble::TestFile;
use crate::draft::{Draft, folder_of};

/// Makes the folder hold the files.
pub(super) fn lay_out(files: &BTreeMap<String, TestFile>, folder: &Path) -> Result<()> {
    for (name, file) in files {
        let place = folder.join(name);
        let failed = || format!("cannot write {}", place.display());
        std::fs::create_dir_all(folder_of(&place)).with_context(failed)?;
        match file {
            TestFile::File { path, executable } => copy(path, *executable, &place).with_context(failed)?,
            TestFile::Link { .. } if place.is_symlink() => {}
            TestFile::Link { target } => symlink(target, &place).with_context(failed)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, executable: bool, to: &Path) -> std::io::Result<()> {
    let mut source = std::fs::File::open(from)?;
    let length = source.metadata()?.len();
    if std::fs::metadata(to).is_ok_and(|there| there.len() == length) {
        return Ok(());
    }
    let mut draft = Draft::create(folder_of(to))?;
    std::io::copy(&mut source, &mut draft)?;
    draft.publish(to)?;
    let mode = if executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_can_be_run_and_links_lead_on() {
        let folder = tempfile::tempdir().expect("temp folder");
        let cached = folder.path().join("cached");
        std::fs::write(&cached, "program").expect("written");
        let files: BTreeMap<_, _> = [
            ("usr/bin/tool".to_owned(), TestFile::File { path: cached, executable: true }),
            ("usr/lib/tool".to_owned(), TestFile::Link { target: "../bin/tool".into() }),
        ]
        .into();
        let out = folder.path().join("out");
        for _ in 0..2 {
            lay_out(&files, &out).expect("laid out");
        }
        assert_eq!(std::fs::read_to_string(out.join("usr/lib/tool")).expect("read"), "program");
        assert_eq!(std::fs::metadata(out.join("usr/bin/tool")).expect("there").permissions().mode() & 0o777, 0o755);
    }
}
