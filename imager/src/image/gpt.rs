//! The partition table as bytes and their places: protective MBR and both copies of the GPT. Every GUID is derived from the content.

use std::io::{self, Read, Seek, SeekFrom, Write};

use gptman::{GPT, GPTPartitionEntry};
use machine_config::disk::{ALIGN_SECTORS, SECTOR_BYTES};

use super::digest::Digest;
use super::layout::{Extent, Layout};

/// Why a partition table cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the partition table")]
pub struct GptError(#[from] gptman::Error);

/// Bytes for one place of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Offset of the first byte.
    pub offset: u64,
    /// What goes there.
    pub bytes: Vec<u8>,
}

/// The table of `layout`, in pieces that do not overlap. `content` is the digest of what the image carries, less SEED, so that stamping a
/// device changes no GUID.
pub fn plan(layout: &Layout, content: Digest) -> Result<Vec<Piece>, GptError> {
    table(layout.bytes(), &layout.extents, content)
}

/// The table of a disk of `bytes` bytes with these partitions.
pub fn table(bytes: u64, extents: &[Extent], content: Digest) -> Result<Vec<Piece>, GptError> {
    let mut disk = Recorder { bytes, position: 0, pieces: Vec::new() };
    let mut gpt = GPT::new_from(&mut disk, SECTOR_BYTES, content.guid("disk").to_bytes_le())?;
    gpt.align = ALIGN_SECTORS;
    for (number, extent) in (1..).zip(extents) {
        let name = extent.partition.name();
        gpt[number] = GPTPartitionEntry {
            partition_type_guid: extent.partition.type_guid().to_bytes_le(),
            unique_partition_guid: content.guid(name).to_bytes_le(),
            starting_lba: extent.first_sector,
            ending_lba: extent.last_sector(),
            attribute_bits: 0,
            partition_name: name.into(),
        };
    }
    GPT::write_protective_mbr_into(&mut disk, SECTOR_BYTES)?;
    gpt.write_into(&mut disk)?;
    Ok(disk.pieces)
}

/// A disk of zeros that remembers what is written where. What is written is not read back.
struct Recorder {
    bytes: u64,
    position: u64,
    pieces: Vec<Piece>,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let offset = self.position;
        self.position += bytes.len() as u64;
        match self.pieces.last_mut().filter(|last| last.offset + last.bytes.len() as u64 == offset) {
            Some(last) => last.bytes.extend_from_slice(bytes),
            None => self.pieces.push(Piece { offset, bytes: bytes.to_vec() }),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Recorder {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        bytes.fill(0);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = super::window::seek(self.position, self.bytes, to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::super::layout::{self, Request};
    use super::*;
    use crate::oracle;

    fn disk(content: &[u8]) -> (tempfile::NamedTempFile, Layout) {
        let layout =
            layout::plan(&Request { esp_bytes: 0, esp_min_bytes: 40 << 20, runtime_bytes: 1 << 20, runtime_min_bytes: 0 });
        let file = tempfile::NamedTempFile::new().expect("temp file");
        file.as_file().set_len(layout.bytes()).expect("sized");
        for piece in plan(&layout, Digest::of(content)).expect("planned") {
            file.as_file().write_all_at(&piece.bytes, piece.offset).expect("written");
        }
        (file, layout)
    }

    #[test]
    fn sgdisk_finds_no_fault() {
        let (file, _) = disk(b"content");
        let Some(output) = oracle::ask(Command::new("/usr/sbin/sgdisk").arg("-v").arg(file.path())) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("No problems found"), "{text}");
    }

    #[test]
    fn it_reads_back_and_depends_on_the_content_alone() {
        let (one, layout) = disk(b"content");
        let (same, _) = disk(b"content");
        let (other, _) = disk(b"other");
        let read = |file: &tempfile::NamedTempFile| std::fs::read(file.path()).expect("read");
        assert!(read(&one) == read(&same));
        assert!(read(&one) != read(&other));
        let gpt = GPT::read_from(&mut File::open(one.path()).expect("opened"), SECTOR_BYTES).expect("a GPT");
        let names: Vec<_> = gpt.iter().filter(|(_, entry)| entry.is_used()).map(|(_, e)| e.partition_name.to_string()).collect();
        assert_eq!(names, ["ESP", "SEED", "RUNTIME-A"]);
        assert_eq!(gpt[3].starting_lba, layout.runtime().first_sector);
    }
}
