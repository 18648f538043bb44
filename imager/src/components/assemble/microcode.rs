//! Processor microcode as an early initramfs: an uncompressed archive that the kernel looks into before it does anything else.
//!
//! It joins the vendors' files as they are and chooses none: which processors are covered is what components.toml takes.

use std::collections::BTreeSet;

use super::AssembleError;
use crate::components::cache::Cache;
use crate::components::extract::{Item, Items};

/// Folder in the packages, and the name the kernel looks for.
const VENDORS: [(&str, &str); 2] = [
    ("usr/lib/firmware/amd-ucode/", "kernel/x86/microcode/AuthenticAMD.bin"),
    ("usr/lib/firmware/intel-ucode/", "kernel/x86/microcode/GenuineIntel.bin"),
];
/// The processor takes an update only from an address that is a multiple of this; the archive itself is loaded at a page's beginning.
const ALIGNMENT: usize = 16;
const HEADER: usize = 110;
const FOLDERS: [&str; 3] = ["kernel", "kernel/x86", "kernel/x86/microcode"];
const FOLDER_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_644;

/// The archive of every vendor's files.
pub(super) fn early(cache: &Cache, items: &Items) -> Result<Vec<u8>, AssembleError> {
    let mut archive = Vec::new();
    for folder in FOLDERS {
        entry(&mut archive, folder, FOLDER_MODE, &[]);
    }
    for (folder, name) in VENDORS {
        let bytes = joined(cache, items, folder)?;
        if !bytes.is_empty() {
            entry(&mut archive, name, FILE_MODE, &bytes);
        }
    }
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(archive)
}

/// A vendor's files one after the other, by name. Files for several processors of a kind are the same file; once is enough.
fn joined(cache: &Cache, items: &Items, folder: &str) -> Result<Vec<u8>, AssembleError> {
    let (mut bytes, mut seen) = (Vec::new(), BTreeSet::new());
    for (_, item) in items.iter().filter(|(path, _)| path.starts_with(folder)) {
        let Item::File { sha256, .. } = item else { continue };
        if seen.insert(*sha256) {
            let path = cache.path(*sha256);
            bytes.extend(std::fs::read(&path).map_err(|source| AssembleError::Read { path, source })?);
        }
    }
    Ok(bytes)
}

/// Appends one entry (newc) whose content begins aligned. A name may be followed by further NULs: the kernel compares up to the first.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let least = archive.len() + HEADER + name.len() + 1;
    let end = if bytes.is_empty() { least.next_multiple_of(4) } else { least.next_multiple_of(ALIGNMENT) };
    // The format counts the name with its NULs, but not those that fill up to a multiple of four.
    let padded = if bytes.is_empty() { name.len() + 1 } else { name.len() + 1 + (end - least) };
    let links = if mode == FOLDER_MODE { 2 } else { 1 };
    let size = u32::try_from(bytes.len()).expect("microcode is a few megabytes");
    let name_size = u32::try_from(padded).expect("names are short");
    let fields = [0, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
    archive.extend(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
    archive.extend(name.as_bytes());
    archive.resize(end, 0);
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;

    fn items(cache: &Cache, files: &[(&str, &[u8])]) -> Items {
        let store = |(path, bytes): &(&str, &[u8])| {
            let sha256 = cache.put(bytes).expect("stored");
            ((*path).to_owned(), Item::File { sha256, executable: false, elf: None })
        };
        files.iter().map(store).collect()
    }

    #[test]
    fn every_vendor_s_files_are_joined_once_and_begin_aligned() {
        let folder = tempfile::tempdir().expect("temp folder");
        let cache = Cache::at(folder.path());
        let items = items(
            &cache,
            &[
                ("usr/lib/firmware/intel-ucode/06-01", b"first intel"),
                ("usr/lib/firmware/intel-ucode/06-02", b"first intel"),
                ("usr/lib/firmware/intel-ucode/06-03", b"second intel"),
                ("usr/lib/firmware/amd-ucode/x.bin", b"amd"),
                ("licences/amd.txt", b"free to pass on"),
            ],
        );
        let archive = early(&cache, &items).expect("made");
        let at = |part: &[u8]| archive.windows(part.len()).position(|window| window == part).expect("there");
        assert_eq!((at(b"first intelsecond intel") % ALIGNMENT, at(b"amd") % ALIGNMENT), (0, 0));
        let Some(output) = oracle::ask_about(std::process::Command::new("cpio").arg("-it"), &archive) else { return };
        let listed = String::from_utf8(output.stdout).expect("text");
        let names: Vec<_> = listed.lines().collect();
        assert_eq!(names, FOLDERS.into_iter().chain(VENDORS.map(|(_, name)| name)).collect::<Vec<_>>());
    }
}
