//! What was imported before, so that a boot does not read hundreds of megabytes again. A record that is lost or wrong costs time only:
//! containerd is asked whether the images are there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Archives and what they gave.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    archives: BTreeMap<PathBuf, Imported>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Imported {
    key: String,
    images: Vec<(String, Digest)>,
}

/// Names one archive's content without reading it: its size and times, and for archives of the read-only runtime image (whose files all have
/// one time) the image they lie in.
pub fn archive_key(path: &Path, boot_image: &str) -> String {
    match std::fs::metadata(path) {
        Ok(found) => format!("{} {}.{} {} {boot_image}", found.size(), found.mtime(), found.mtime_nsec(), found.ino()),
        // Reading it will say what is wrong.
        Err(_) => String::new(),
    }
}

impl Record {
    /// Reads the record; none that can be read is an empty one.
    pub(super) fn load(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes the record; that it cannot be written costs the next boot time, not the images.
    pub(super) fn save(&self, path: &Path) {
        let temporary = path.with_extension("new");
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&temporary, serde_json::to_vec(self).unwrap_or_default()))
            .and_then(|()| std::fs::rename(&temporary, path));
        if let Err(error) = written {
            eprintln!("cannot remember what was imported in {}: {error}", path.display());
        }
    }

    /// What this archive gave, if it is still the same one.
    pub(super) fn images_of(&self, path: &Path, key: &str) -> Option<&[(String, Digest)]> {
        self.archives
            .get(path)
            .filter(|imported| imported.key == key && !key.is_empty())
            .map(|imported| imported.images.as_slice())
    }

    /// Whether this archive gave an image of this name.
    pub(super) fn gave(&self, path: &Path, name: &str) -> bool {
        self.archives.get(path).is_some_and(|imported| imported.images.iter().any(|(image, _)| image == name))
    }

    /// Notes what an archive gave.
    pub(super) fn remember(&mut self, path: &Path, key: String, images: Vec<(String, Digest)>) {
        self.archives.insert(path.to_owned(), Imported { key, images });
    }
}
