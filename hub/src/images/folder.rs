//! The folder of images: which there are and what they hash to. Images that can be stamped and were not, and what stands beside them, are all
//! that is shown: `imager stamp` leaves tokens, keys and stamped images in its folders.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imager::seed_place;
use machine_config::disk::SEED_BYTES;
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::download::DownloadKey;
use super::hash::Hashes;

/// Files of one folder that are looked at.
const MAX_FILES: usize = 1000;
/// Ends the name of a file with an image's hash.
const HASH: &str = ".sha256";
/// Ends the names of what else stands beside an image.
const BESIDE: [&str; 4] = [".spdx.json", ".provenance.json", ".bmap", ".manifest.json"];

/// How long a list waits for hashes that are being computed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its file's name.
    pub name: String,
    /// Bytes of it.
    pub bytes: u64,
    /// SHA-256, as its `.sha256` says, or computed where there is no such file; none: that goes on, ask again.
    pub sha256: Option<String>,
    /// It has a place for what is particular to one device, and that is empty.
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
    hashes: Hashes,
    key: DownloadKey,
}

/// An image that was opened.
#[derive(Debug)]
pub(super) struct OpenImage {
    pub(super) file: File,
    pub(super) bytes: u64,
}

impl Images {
    /// The images in this folder, stamped with tokens of this key.
    pub fn new(folder: Option<PathBuf>, key: DownloadKey) -> Self {
        Self { folder: folder.map(Arc::from), hashes: Hashes::default(), key }
    }

    pub(super) fn key(&self) -> &DownloadKey {
        &self.key
    }

    fn folder(&self) -> Result<&Path, ImageError> {
        self.folder.as_deref().ok_or(ImageError::NoFolder)
    }

    /// All images, by name. Where no `.sha256` stands beside one, its hash is computed, once; the list waits a while for it.
    ///
    /// # Errors
    /// There is no folder, or it cannot be read.
    pub async fn list(&self) -> Result<Vec<Image>, ImageError> {
        let folder = self.folder()?.to_owned();
        let mut images = blocking(move || list(&folder)).await?;
        let until = Instant::now() + PATIENCE;
        for image in images.iter_mut().filter(|image| image.sha256.is_none()) {
            // An image that was taken away meanwhile, or cannot be read, is told by whoever asks for it.
            image.sha256 = timeout_at(until, self.hash(&image.name)).await.ok().and_then(Result::ok);
        }
        Ok(images)
    }

    /// Opens an image that anybody who may look may have, or what stands beside one.
    pub(super) async fn open_offered(&self, name: &str) -> Result<OpenImage, ImageError> {
        let (opened, folder, asked) = (self.open(name).await?, self.folder()?.to_owned(), name.to_owned());
        let (opened, is_offered) = blocking(move || {
            let is_offered = match is_beside(&asked) {
                true => list(&folder)?.iter().any(|image| image.beside.contains(&asked)),
                false => is_blank(&opened.file),
            };
            Ok((opened, is_offered))
        })
        .await?;
        is_offered.then_some(opened).ok_or_else(|| missing(name))
    }

    /// Opens a file of the folder, whatever it is.
    pub(super) async fn open(&self, name: &str) -> Result<OpenImage, ImageError> {
        let path = match is_name(name) {
            true => self.folder()?.join(name),
            false => return Err(missing(name)),
        };
        let opened = blocking(move || open(&path)).await?;
        opened.ok_or_else(|| missing(name))
    }

    /// The image's SHA-256, computed unless the file is the one that was hashed before. It is the one that its `.sha256` says.
    pub(super) async fn hash(&self, name: &str) -> Result<String, ImageError> {
        let (image, path) = (self.open(name).await?, self.folder()?.join(name));
        let found = self.hashes.of(image.file).await;
        let found = found.map_err(|source| ImageError::Read { path: path.clone(), source })?;
        let name = name.to_owned();
        blocking(move || match stated_hash(&path) {
            Some(expected) if expected != found => Err(ImageError::Damaged { name, found, expected }),
            Some(_) | None => Ok(found),
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

fn missing(name: &str) -> ImageError {
    ImageError::Missing { name: crate::model::text::bounded(name, 128) }
}

/// Whether a file is an image with an empty SEED: it holds nothing of any device's.
fn is_blank(file: &File) -> bool {
    let Ok(place) = seed_place::find(file) else { return false };
    let mut seed = vec![1; SEED_BYTES as usize];
    place.bytes == SEED_BYTES && file.read_exact_at(&mut seed, place.offset).is_ok() && seed.iter().all(|byte| *byte == 0)
}

/// Whether a name is that of a file which stands beside an image.
fn is_beside(name: &str) -> bool {
    name.ends_with(HASH) || BESIDE.iter().any(|end| name.ends_with(end))
}

/// Whether a text is the name of a file in the folder, and leads nowhere else.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    plain && (1..=200).contains(&name.len()) && !name.starts_with('.')
}

fn open(path: &Path) -> Result<Option<OpenImage>, ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    // A pipe must not make anybody wait for whoever writes into it.
    let file = match File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path) {
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
    let mut images = vec![];
    for name in names.iter().filter(|name| !is_beside(name)) {
        let path = folder.join(name);
        let Some(opened) = open(&path)?.filter(|opened| is_blank(&opened.file)) else { continue };
        let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let beside = names.iter().filter(|other| is_beside(other) && belongs(other, name, stem)).cloned().collect();
        images.push(Image { name: name.clone(), bytes: opened.bytes, sha256: stated_hash(&path), stampable: true, beside });
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
    use sha2::{Digest as _, Sha256};

    use super::super::sample;
    use super::*;

    fn images(folder: &Path) -> Images {
        Images::new(Some(folder.to_owned()), key())
    }

    fn key() -> DownloadKey {
        DownloadKey::of(&crate::tls::HubKey::open(tempfile::tempdir().unwrap().path()).unwrap())
    }

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
        sample::write(&folder.path().join("a.img"));
        write("a.img.sha256", &format!("{hash}  a.img\n"));
        write("a.img.spdx.json", "{}");
        write("a.bmap", "");
        sample::write(&folder.path().join("b.img"));
        write(".secret", "");
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let images = images(folder.path());
        let listed = images.list().await.unwrap();
        let a = Image {
            name: "a.img".into(),
            bytes: sample::BYTES,
            sha256: Some(hash),
            stampable: true,
            beside: vec!["a.bmap".into(), "a.img.sha256".into(), "a.img.spdx.json".into()],
        };
        let computed = hex::encode(Sha256::digest(std::fs::read(folder.path().join("b.img")).unwrap()));
        let b = Image { name: "b.img".into(), bytes: sample::BYTES, sha256: Some(computed), stampable: true, beside: vec![] };
        assert_eq!(listed, [a, b], "each has its hash");
        assert!(matches!(images.hash("a.img").await, Err(ImageError::Damaged { .. })));
        assert_eq!(images.hash("b.img").await.unwrap().len(), 64);
        assert!(matches!(images.open("folder").await, Err(ImageError::Missing { .. })));
        assert!(matches!(Images::new(None, key()).list().await, Err(ImageError::NoFolder)));
    }

    #[tokio::test]
    async fn what_a_stamping_left_in_the_folder_is_neither_listed_nor_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        sample::write(&path("base.img"));
        sample::write(&path("till-1.img"));
        let stamped = File::options().write(true).open(path("till-1.img")).unwrap();
        stamped.write_all_at(b"token", seed_place::find(&File::open(path("base.img")).unwrap()).unwrap().offset + 4096).unwrap();
        let secrets =
            ["till-1.img", "till-1.token", "till-1.manifest.json", "till-1.img.sha256", "fleet.key", "hub.pem", "base.token"];
        for name in &secrets[1..] {
            std::fs::write(path(name), "secret").unwrap();
        }
        std::fs::write(path("base.bmap"), "").unwrap();
        let images = images(folder.path());
        let listed = images.list().await.unwrap();
        assert_eq!(listed.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["base.img"]);
        for name in secrets {
            assert!(matches!(images.file(name).await, Err(ImageError::Missing { .. })), "{name}");
        }
        for name in ["base.img", "base.bmap"] {
            assert!(images.file(name).await.is_ok(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_was_changed_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(folder.path());
        std::fs::write(folder.path().join("a.img"), "one").unwrap();
        let first = images.hash("a.img").await.unwrap();
        assert_eq!(images.hash("a.img").await.unwrap(), first);
        std::fs::write(folder.path().join("a.img"), "three").unwrap();
        assert_ne!(images.hash("a.img").await.unwrap(), first);
    }
}
