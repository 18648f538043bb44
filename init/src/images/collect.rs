//! One pass over an archive: large content goes straight to containerd, small documents are kept for the plan.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use tar::{Entry, EntryType};

use super::archive::{ArchiveError, entry_name, link_target, open};
use super::digest::Digest;
use super::store::Store;
use super::{ImportError, LayoutError};

/// A manifest, index or image configuration is smaller.
const DOCUMENT_BYTES: u64 = 4 << 20;

/// All of them together are smaller.
const ALL_DOCUMENTS_BYTES: usize = 32 << 20;

/// No image archive has more entries.
const ENTRIES: usize = 100_000;

/// What an archive holds.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// `index.json` of an OCI layout.
    pub(super) index: Option<Vec<u8>>,
    /// `manifest.json` of a docker archive.
    pub(super) docker: Option<Vec<u8>>,
    /// Small JSON documents by digest.
    pub(super) documents: BTreeMap<Digest, Vec<u8>>,
    /// Everything that was handed to containerd: digest to size in bytes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// Entry names to what they hold.
    pub(super) files: BTreeMap<String, File>,
    /// Links to the names they point at.
    pub(super) links: BTreeMap<String, String>,
}

/// One entry's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) digest: Digest,
    /// Its first bytes, by which a layer's compression is told.
    pub(super) start: Vec<u8>,
}

impl Collected {
    /// The file of this name, through links.
    pub(super) fn file(&self, name: &str) -> Option<&File> {
        let mut name = name;
        // Each step follows another link, so more steps than links mean a circle.
        for _ in 0..=self.links.len() {
            if let Some(file) = self.files.get(name) {
                return Some(file);
            }
            name = self.links.get(name)?;
        }
        None
    }

    fn keep_document(&mut self, digest: Digest, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        let kept: usize = self.documents.values().map(Vec::len).sum();
        if kept + bytes.len() > ALL_DOCUMENTS_BYTES {
            return Err(ArchiveError::TooMany { what: "bytes of manifests", limit: ALL_DOCUMENTS_BYTES });
        }
        self.documents.insert(digest, bytes);
        Ok(())
    }
}

/// Reads the archive to its end.
pub(super) async fn collect(store: &mut Store, path: &Path) -> Result<Collected, ImportError> {
    let mut collected = Collected::default();
    let mut archive = open(path)?;
    for (number, entry) in archive.entries().map_err(ArchiveError::Read)?.enumerate() {
        if number == ENTRIES {
            return Err(ArchiveError::TooMany { what: "entries", limit: ENTRIES }.into());
        }
        take(store, &mut collected, entry.map_err(ArchiveError::Read)?).await?;
    }
    Ok(collected)
}

async fn take<R: Read>(store: &mut Store, collected: &mut Collected, mut entry: Entry<'_, R>) -> Result<(), ImportError> {
    let name = entry_name(&entry.path_bytes())?;
    match entry.header().entry_type() {
        EntryType::Symlink | EntryType::Link => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            // A hard link names its target from the archive's root, a symbolic one from its own folder.
            let from = if entry.header().entry_type() == EntryType::Link { "" } else { name.as_str() };
            collected.links.insert(name.clone(), link_target(from, &target)?);
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous => match name.as_str() {
            "index.json" => document(&mut entry).map(|bytes| collected.index = Some(bytes)),
            "manifest.json" => document(&mut entry).map(|bytes| collected.docker = Some(bytes)),
            "oci-layout" | "repositories" => Ok(()),
            _ => take_content(store, collected, name, entry).await,
        },
        _ => Ok(()),
    }
}

fn document<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ImportError> {
    if entry.size() > DOCUMENT_BYTES {
        return Err(ArchiveError::TooMany { what: "bytes in a document", limit: 4 << 20 }.into());
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
    Ok(bytes)
}

async fn take_content<R: Read>(
    store: &mut Store,
    collected: &mut Collected,
    name: String,
    mut entry: Entry<'_, R>,
) -> Result<(), ImportError> {
    let size = entry.size();
    let expected = expected_digest(&name)?;
    let mut start = Vec::new();
    (&mut entry).take(16).read_to_end(&mut start).map_err(ArchiveError::Read)?;
    let digest = if start.first() == Some(&b'{') && size <= DOCUMENT_BYTES {
        let mut bytes = start.clone();
        entry.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        let digest = store.write_checked(expected.as_ref(), size, &mut bytes.as_slice()).await?;
        collected.keep_document(digest.clone(), bytes)?;
        digest
    } else {
        store.write_checked(expected.as_ref(), size, &mut start.as_slice().chain(entry)).await?
    };
    collected.blobs.insert(digest.clone(), size);
    collected.files.insert(name, File { digest, start });
    Ok(())
}

/// A blob of an OCI layout is named by its digest; what else lies among the blobs is refused, since nothing could prove it.
fn expected_digest(name: &str) -> Result<Option<Digest>, LayoutError> {
    let Some(blob) = name.strip_prefix("blobs/") else { return Ok(None) };
    let digest = Digest::try_from(blob.replacen('/', ":", 1)).map_err(|error| LayoutError::BlobName(error.0))?;
    Ok(Some(digest))
}
