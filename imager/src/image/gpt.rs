//! Writes the partition table: protective MBR and both copies of the GPT. Every GUID is derived from the content.

use std::io::{Seek, Write};

use gptman::{GPT, GPTPartitionEntry};
use machine_config::disk::{ALIGN_SECTORS, SECTOR_BYTES};

use super::digest::Digest;
use super::layout::Layout;

/// Why a partition table cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the partition table")]
pub struct GptError(#[from] gptman::Error);

/// Writes the table of `layout` into a disk of exactly its length. `content` is the digest of what the image carries, less SEED, so that
/// stamping a device changes no GUID.
pub fn write<D: Write + Seek + std::io::Read>(disk: &mut D, layout: &Layout, content: Digest) -> Result<(), GptError> {
    let mut gpt = GPT::new_from(disk, SECTOR_BYTES, content.guid("disk").to_bytes_le())?;
    gpt.align = ALIGN_SECTORS;
    for (number, extent) in (1..).zip(&layout.extents) {
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
    GPT::write_protective_mbr_into(disk, SECTOR_BYTES)?;
    gpt.write_into(disk)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::super::layout::{self, Request};
    use super::*;

    fn disk(content: &[u8]) -> (tempfile::NamedTempFile, Layout) {
        let layout = layout::plan(&Request { esp_bytes: 40 << 20, runtime_bytes: 1 << 20, runtime_min_bytes: 0 });
        let file = tempfile::NamedTempFile::new().expect("temp file");
        file.as_file().set_len(layout.bytes()).expect("sized");
        write(&mut file.reopen().expect("opened"), &layout, Digest::of(content)).expect("written");
        (file, layout)
    }

    #[test]
    fn sgdisk_finds_no_fault() {
        let (file, _) = disk(b"content");
        let Ok(output) = Command::new("/usr/sbin/sgdisk").arg("-v").arg(file.path()).output() else {
            return; // the oracle is not installed here
        };
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
