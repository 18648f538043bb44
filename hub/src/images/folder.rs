//! The folder of images: which there are, what they hash to, and which of them can be stamped.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use imager::seed_place;
use serde::Serialize;
use utoipa::ToSchema;

use super::hash::{Hashes, hash_file};

/// Files of one folder that are looked at.
const MAX_FILES: usize = 1000;
/// Ends the name of a file with an image's hash.
const HASH: &str = ".sha256";
/// Ends the names of what else stands beside an image.
const BESIDE: [&str; 4] = [".spdx.json", ".provenance.json", ".bmap", ".manifest.json"];

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its file's name.
    pub name: String,
    /// Bytes of it.
    pub bytes: u64,
    /// SHA-256, as its `.sha256` says; none: there is no such file.
    pub sha256: Option<String>,
    /// It has a place for what is particular to one device.
    pub stampable: bool,
    /// What stands beside it: its hash, its list of contents, its block map.
    pub beside: Vec<String>,
}

/// Why an image is not given.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The hub has no folder.
    #[error("cannot list images: this hub was started without --images")]
    NoFolder,
    /// There is none.
    #[error("cannot find the image `{name}`")]
    Missing {
        /// As asked for, cut.
        name: String,
    },
    /// The folder or a file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what its `.sha256` says.
    #[error("cannot use the image `{name}`: its SHA-256 is {found}, but {name}.sha256 says {expected}; copy it again")]
    Damaged {
        /// Which.
        name: String,
        /// What it hashes to.
        found: String,
        /// What it should.
        expected: String,
    },
    /// It has no place to stamp.
    #[error("cannot stamp `{name}`")]
    NotStampable {
        /// Which.
        name: String,
        /// Why.
        source: seed_place::SeedPlaceError,
    },
    /// It could not be looked at to the end.
    #[error("cannot read the image: the hub is stopping")]
    Stopping,
}

/// The folder. Clones are one.
#[derive(Debug, Clone)]
pub struct Images {
    folder: Option<Arc<Path>>,
    hashes: Arc<Mutex<Hashes>>,
}

/// An image that was opened.
#[derive(Debug)]
pub(super) struct OpenImage {
    pub(super) file: File,
    pub(super) bytes: u64,
}

impl Images {
    /// The images in this folder.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder: folder.map(Arc::from), hashes: Arc::default() }
    }

    fn folder(&self) -> Result<&Path, ImageError> {
        self.folder.as_deref().ok_or(ImageError::NoFolder)
    }

    /// All images, by name.
    ///
    /// # Errors
    /// There is no folder, or it cannot be read.
    pub async fn list(&self) -> Result<Vec<Image>, ImageError> {
        let folder = self.folder()?.to_owned();
        blocking(move || list(&folder)).await
    }

    /// Opens a file of the folder: an image, or what stands beside one.
    pub(super) async fn open(&self, name: &str) -> Result<OpenImage, ImageError> {
        let missing = || ImageError::Missing { name: crate::model::text::bounded(name, 128) };
        let path = Some(name).filter(|name| is_name(name)).ok_or_else(missing).and_then(|name| Ok(self.folder()?.join(name)))?;
        let opened = blocking(move || open(&path)).await?;
        opened.ok_or_else(missing)
    }

    /// The image's SHA-256, computed unless the file is the one that was hashed before. It is the one that its `.sha256` says.
    pub(super) async fn hash(&self, name: &str) -> Result<String, ImageError> {
        let image = self.open(name).await?;
        let (path, hashes) = (self.folder()?.join(name), Arc::clone(&self.hashes));
        let name = name.to_owned();
        blocking(move || {
            let failed = |source| ImageError::Read { path: path.clone(), source };
            let key = Hashes::key(&image.file).map_err(failed)?;
            let known = hashes.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
            let found = match known {
                Some(found) => found,
                None => hash_file(&image.file).map_err(failed)?,
            };
            hashes.lock().unwrap_or_else(PoisonError::into_inner).put(key, found.clone());
            match stated_hash(&path) {
                Some(expected) if expected != found => Err(ImageError::Damaged { name, found, expected }),
                Some(_) | None => Ok(found),
            }
        })
        .await
    }
}

/// Runs what reads files where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ImageError::Stopping))
}

/// Whether a text is the name of a file in the folder, and leads nowhere else.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    plain && (1..=200).contains(&name.len()) && !name.starts_with('.')
}

fn open(path: &Path) -> Result<Option<OpenImage>, ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let about = file.metadata().map_err(failed)?;
    Ok(about.is_file().then_some(OpenImage { file, bytes: about.len() }))
}

/// The hash that stands beside an image: the first word of NAME.sha256.
fn stated_hash(image: &Path) -> Option<String> {
    let mut path = image.as_os_str().to_owned();
    path.push(HASH);
    let text = std::fs::read_to_string(path).ok()?;
    text.split_whitespace().next().map(str::to_ascii_lowercase).filter(|hash| hash.len() == 64)
}

fn list(folder: &Path) -> Result<Vec<Image>, ImageError> {
    let failed = |source| ImageError::Read { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?.take(MAX_FILES);
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is_name(name)).collect();
    names.sort();
    let is_beside = |name: &str| name.ends_with(HASH) || BESIDE.iter().any(|end| name.ends_with(end));
    let mut images = vec![];
    for name in names.iter().filter(|name| !is_beside(name)) {
        let path = folder.join(name);
        let Some(opened) = open(&path)? else { continue };
        let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let beside = names.iter().filter(|other| is_beside(other) && belongs(other, name, stem)).cloned().collect();
        let stampable = seed_place::place(&opened.file).is_ok();
        images.push(Image { name: name.clone(), bytes: opened.bytes, sha256: stated_hash(&path), stampable, beside });
    }
    Ok(images)
}

/// Whether a file stands beside this image: it has its name, or the name of the family it was made with.
fn belongs(beside: &str, image: &str, stem: &str) -> bool {
    let rest = beside.strip_prefix(image).or_else(|| beside.strip_prefix(stem));
    rest.is_some_and(|rest| rest == HASH || BESIDE.contains(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_out_of_no_folder() {
        assert!(is_name("skerry-0.1.0-nuc.img") && is_name("a.img.spdx.json"));
        for bad in ["", ".", "..", "../hub.key", "a/b", ".hidden", "a\0b", "a b", &"x".repeat(201)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn images_are_listed_with_what_stands_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let hash = "ab".repeat(32);
        write("a.img", "image");
        write("a.img.sha256", &format!("{hash}  a.img\n"));
        write("a.img.spdx.json", "{}");
        write("a.bmap", "");
        write("b.img", "other");
        write(".secret", "");
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let images = Images::new(Some(folder.path().to_owned()));
        let listed = images.list().await.unwrap();
        let a = Image {
            name: "a.img".into(),
            bytes: 5,
            sha256: Some(hash),
            stampable: false,
            beside: vec!["a.bmap".into(), "a.img.sha256".into(), "a.img.spdx.json".into()],
        };
        let b = Image { name: "b.img".into(), bytes: 5, sha256: None, stampable: false, beside: vec![] };
        assert_eq!(listed, [a, b]);
        assert!(matches!(images.hash("a.img").await, Err(ImageError::Damaged { .. })));
        assert_eq!(images.hash("b.img").await.unwrap().len(), 64);
        assert!(matches!(images.open("folder").await, Err(ImageError::Missing { .. })));
        assert!(matches!(Images::new(None).list().await, Err(ImageError::NoFolder)));
    }

    #[tokio::test]
    async fn a_file_that_was_changed_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::new(Some(folder.path().to_owned()));
        std::fs::write(folder.path().join("a.img"), "one").unwrap();
        let first = images.hash("a.img").await.unwrap();
        assert_eq!(images.hash("a.img").await.unwrap(), first);
        std::fs::write(folder.path().join("a.img"), "three").unwrap();
        assert_ne!(images.hash("a.img").await.unwrap(), first);
    }
}
