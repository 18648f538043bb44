//! Puts a disk image together: plans it, then writes each part to its place. Every number comes from the plan, every GUID from the content.

use std::fs::File;

use super::boot::BootFiles;
use super::digest::Digest;
use super::esp::{self, EspError, EspFile};
use super::gpt::{self, GptError};
use super::layout::{self, Layout, Request};
use super::output::{Output, OutputError, Place};
use super::verity::Verity;
use crate::board::PartitionSizes;

const MIB: u64 = 1 << 20;

/// A finished runtime image: squashfs in a file, and its hash tree.
#[derive(Debug)]
pub struct Runtime {
    /// The squashfs image, from the file's beginning.
    pub file: File,
    /// The tree over it.
    pub verity: Verity,
}

/// Everything a disk image is made of.
#[derive(Debug)]
pub struct DiskParts<'a> {
    /// From the board.
    pub sizes: PartitionSizes,
    /// The boot partition's files.
    pub boot: &'a BootFiles,
    /// Content of SEED; none: left blank.
    pub seed: Option<&'a [u8]>,
    /// The runtime image.
    pub runtime: Runtime,
}

/// Why a disk image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The ESP cannot be made.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The partition table cannot be written.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// The file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where things are.
    pub layout: Layout,
    /// Digest of what the image carries, less SEED.
    pub content: Digest,
    /// Bytes that are not padding: loader, UKI, runtime image with its tree, SEED.
    pub payload_bytes: u64,
}

impl DiskParts<'_> {
    /// What the GUIDs are derived from. SEED is not in it: a stamped image is still the same image.
    fn content(&self) -> Digest {
        let verity = &self.runtime.verity;
        let blocks = verity.data_blocks.to_le_bytes();
        let runtime: [&[u8]; 3] = [verity.root.as_bytes(), verity.salt.as_bytes(), &blocks];
        let boot = self.boot.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes.as_slice()]);
        Digest::of_parts("skerry disk 2", boot.chain(runtime))
    }

    fn boot_bytes(&self) -> u64 {
        self.boot.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn request(&self) -> Request {
        Request {
            esp_bytes: self.boot_bytes(),
            esp_min_bytes: self.sizes.esp_mib * MIB,
            runtime_bytes: self.runtime.verity.total_bytes(),
            runtime_min_bytes: self.sizes.runtime_mib * MIB,
        }
    }
}

/// Writes the image that will be at `out`, sparse; it appears when the caller publishes it.
pub fn write(mut parts: DiskParts<'_>, out: &Place) -> Result<(Output, Written), DiskError> {
    let layout = layout::plan(&parts.request());
    let content = parts.content();
    let files: Vec<_> = parts.boot.iter().map(|(path, bytes)| EspFile { path, bytes }).collect();
    let esp = esp::build(layout.esp().bytes(), content.number("ESP volume id"), &files)?;
    let seed = parts.seed.unwrap_or_default();

    let table = gpt::plan(&layout, content)?;

    let output = Output::create(out)?;
    output.set_len(layout.bytes())?;
    table.iter().try_for_each(|piece| output.write_at(piece.offset, &piece.bytes))?;
    output.write_at(layout.esp().offset(), &esp)?;
    output.write_at(layout.seed().offset(), seed)?;
    let data_bytes = parts.runtime.verity.data_blocks * super::verity::BLOCK_BYTES;
    output.copy_at(layout.runtime().offset(), &mut parts.runtime.file, data_bytes)?;
    output.write_at(layout.runtime().offset() + data_bytes, &parts.runtime.verity.tree)?;
    let fixed = parts.boot_bytes() + seed.len() as u64;
    Ok((output, Written { layout, content, payload_bytes: fixed + parts.runtime.verity.total_bytes() }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use uuid::Uuid;

    use super::super::verity;
    use super::*;

    fn written(seed: Option<&[u8]>, folder: &Path) -> (std::path::PathBuf, Written) {
        let file = tempfile::tempfile().expect("temp file");
        std::os::unix::fs::FileExt::write_all_at(&file, &[3; 8192], 0).expect("written");
        let verity = verity::build(&file, 0, 8192, Digest::of(b"salt"), Uuid::nil()).expect("built");
        let boot = [("EFI/BOOT/BOOTX64.EFI", vec![1; 100_000]), ("EFI/Linux/skerry-a.efi", vec![2; 4_000_000])];
        let boot = boot.map(|(path, bytes)| (path.to_owned(), bytes)).into();
        let parts = DiskParts {
            sizes: PartitionSizes { esp_mib: 40, runtime_mib: 2 },
            boot: &boot,
            seed,
            runtime: Runtime { file, verity },
        };
        let path = folder.join("image");
        let (output, written) = write(parts, &Place::new(&path).expect("a place")).expect("written");
        output.publish().expect("published");
        (path, written)
    }

    #[test]
    fn stamping_changes_seed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (path, blank) = written(None, folder.path());
        let before = std::fs::read(&path).expect("read");
        let (path, stamped) = written(Some(&[9; 1 << 20]), folder.path());
        let mut after = std::fs::read(&path).expect("read");
        assert_eq!(blank.content, stamped.content);
        let seed = blank.layout.seed();
        after[seed.offset() as usize..][..seed.bytes() as usize].fill(0);
        assert!(before == after);
    }

    #[test]
    fn empty_space_is_not_stored() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (path, written) = written(None, folder.path());
        let meta = std::fs::metadata(path).expect("there");
        assert_eq!(meta.len(), written.layout.bytes());
        let allocated = meta.blocks() * 512;
        assert!(allocated as f64 <= 1.1 * written.payload_bytes as f64, "{allocated} allocated for {}", written.payload_bytes);
    }
}
