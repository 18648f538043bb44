//! A cache for `imager` that holds the packages of another and nothing that was taken out of them or made from them: what is built with it is
//! made anew, without a download.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};

/// The folder of a cache that holds files under their own hash: packages as downloaded, and what was taken out of them.
const FOLDER: &str = "sha256";

/// Makes the cache `to` from the cache `from`.
pub fn cache(from: &Path, to: &Path) -> Result<()> {
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

/// Whether the file is a package, which is an `ar` archive.
fn is_package(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 8];
    match File::open(path)?.read_exact(&mut magic) {
        Ok(()) => Ok(&magic == b"!<arch>\n"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join(FOLDER)).unwrap();
        fs::create_dir_all(from.join("derived")).unwrap();
        for (name, content) in [("package", "!<arch>\ndebian"), ("program", "\x7fELF of it"), ("short", "x")] {
            fs::write(from.join(FOLDER).join(name), content).unwrap();
        }
        cache(&from, &to).unwrap();
        let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!((names(&to), names(&to.join(FOLDER))), (vec![FOLDER.into()], vec!["package".into()]));
        assert!(cache(&folder.path().join("none"), &to).is_err());
    }
}
