//! Importing image archives into containerd, so that pods start without any registry. The program around it is `skerry-images`.
//!
//! Archives are streamed: what is in memory at any time is one chunk and the small documents. Nothing is unpacked to a file system, and no
//! name in an archive is ever used as a path. What is there already is not read again.

mod archive;
mod builtin;
mod collect;
mod digest;
mod layout;
mod record;
mod reference;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::archive::ArchiveError;
pub use self::builtin::pause;
use self::collect::collect;
pub use self::digest::{Digest, DigestError};
pub use self::layout::LayoutError;
use self::record::Record;
pub use self::record::archive_key;
pub use self::reference::{ReferenceError, normalize};
pub use self::store::{Store, StoreError};

/// Where archives may lie: the runtime image's own, then those brought to the device.
pub const FOLDERS: [&str; 2] = ["/usr/share/skerry/images", "/var/lib/skerry/images"];

/// Where it is remembered which archives were imported.
pub const RECORD: &str = "/var/lib/skerry/images.json";

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("cannot read the archive")]
    Archive(#[from] ArchiveError),
    /// It is not an image archive, or not whole.
    #[error("cannot use the archive")]
    Layout(#[from] LayoutError),
    /// containerd did not take it.
    #[error("cannot import into containerd")]
    Store(#[from] StoreError),
}

/// What became of one archive.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub archive: PathBuf,
    /// The names it gave, or why it gave none. Empty: they were there before.
    pub result: Result<Vec<String>, ImportError>,
}

/// What to import, and what to remember it by.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Where archives lie.
    pub folders: &'a [&'a Path],
    /// Where it is remembered which were imported.
    pub record: &'a Path,
    /// Names the running runtime image, whose archives change only with it.
    pub boot_image: &'a str,
    /// The static program of which the sandbox image is made.
    pub pause: &'a Path,
}

/// Imports every archive in the folders, in the order of their names, then makes sure that there is a sandbox image.
///
/// A broken archive does not keep the others out.
pub async fn import_all(store: &mut Store, job: Job<'_>) -> Result<Vec<Outcome>, StoreError> {
    let mut known = Record::load(job.record);
    let mut outcomes = Vec::new();
    store.begin().await?;
    for archive in archive::find(job.folders) {
        let result = import_once(store, &archive, &mut known, job.boot_image).await;
        outcomes.push(Outcome { archive, result });
    }
    if !outcomes.iter().any(|outcome| known.gave(&outcome.archive, api::SANDBOX_IMAGE)) {
        builtin::ensure_sandbox(store, job.pause).await?;
    }
    store.end().await?;
    known.save(job.record);
    Ok(outcomes)
}

async fn import_once(
    store: &mut Store,
    archive: &Path,
    known: &mut Record,
    boot_image: &str,
) -> Result<Vec<String>, ImportError> {
    let key = archive_key(archive, boot_image);
    if let Some(images) = known.images_of(archive, &key)
        && store.has_images(images).await?
    {
        return Ok(Vec::new());
    }
    let images = import(store, archive).await?;
    let names = images.iter().map(|(name, _)| name.clone()).collect();
    known.remember(archive, key, images);
    Ok(names)
}

async fn import(store: &mut Store, archive: &Path) -> Result<Vec<(String, Digest)>, ImportError> {
    let collected = collect(store, archive).await?;
    let plan = layout::plan(&collected)?;
    for document in &plan.generated {
        store.write(&document.digest, document.bytes.len() as u64, &mut document.bytes.as_slice()).await?;
    }
    for (digest, references) in &plan.references {
        store.label(digest, references).await?;
    }
    for image in &plan.images {
        store.name(&image.name, &image.target).await?;
    }
    Ok(plan.images.into_iter().map(|image| (image.name, image.target.digest)).collect())
}
