//! Reads an initramfs as the kernel does: archives one after another, padded with zeros, plain or compressed with zstd.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use anyhow::{Context, Result, ensure};

/// One file, folder or link of an initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its kind and permissions, as the kernel keeps them.
    pub mode: u32,
    /// Content, or a link's target.
    pub bytes: Vec<u8>,
}

/// What an initramfs holds, by path; a later archive's files replace those of an earlier one.
pub type Files = BTreeMap<String, Entry>;

const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Reads the whole of it.
pub fn read(mut bytes: &[u8]) -> Result<Files> {
    let mut files = Files::new();
    loop {
        let start = bytes.iter().position(|&byte| byte != 0);
        let Some(start) = start else { return Ok(files) };
        bytes = &bytes[start..];
        bytes = match bytes.starts_with(&ZSTD_MAGIC) {
            true => {
                let (plain, rest) = decompress(bytes)?;
                let left = archive(&plain, &mut files)?;
                ensure!(left.iter().all(|&byte| byte == 0), "a compressed archive is followed by something else");
                rest
            }
            false => archive(bytes, &mut files)?,
        };
    }
}

/// One zstd frame, and what follows it.
fn decompress(bytes: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut decoder = zstd::Decoder::with_buffer(bytes).context("the initramfs is not zstd")?.single_frame();
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).context("the compressed initramfs is cut off")?;
    Ok((plain, decoder.finish()))
}

/// One newc archive, and what follows it.
fn archive<'a>(bytes: &'a [u8], files: &mut Files) -> Result<&'a [u8]> {
    let mut cursor = Cursor::new(bytes);
    loop {
        let mut entry = cpio::NewcReader::new(cursor).context("the initramfs is no newc archive")?;
        if entry.entry().is_trailer() {
            cursor = entry.finish().context("the initramfs is cut off")?;
            let end = usize::try_from(cursor.position()).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(&bytes[end..]);
        }
        let name = entry.entry().name().trim_start_matches("./").to_owned();
        let mode = entry.entry().mode();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).context("the initramfs is cut off")?;
        files.insert(name, Entry { mode, bytes: content });
        cursor = entry.finish().context("the initramfs is cut off")?;
    }
}

/// An archive of files, each given with its permissions.
pub fn pack(files: &[(&str, u32, &[u8])]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut out = Vec::new();
    for (number, (path, permissions, bytes)) in (1..).zip(files) {
        let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        let mut entry = cpio::NewcBuilder::new(path).ino(number).nlink(1).mode(0o100_000 | permissions).write(out, size);
        entry.write_all(bytes)?;
        out = entry.finish()?;
    }
    cpio::newc::trailer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_read_one_after_another() {
        let early = pack(&[("kernel/x86/microcode/GenuineIntel.bin", 0o644, b"microcode")]).unwrap();
        let main = pack(&[("init", 0o755, b"one"), ("modules", 0o644, b"list")]).unwrap();
        let late = pack(&[("init", 0o755, b"two")]).unwrap();
        let mut bytes = [early, zstd::encode_all(main.as_slice(), 3).unwrap()].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend(late);
        let files = read(&bytes).unwrap();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["init", "kernel/x86/microcode/GenuineIntel.bin", "modules"]);
        assert_eq!((files["init"].bytes.as_slice(), files["init"].mode & 0o777), (b"two".as_slice(), 0o755));
    }

    #[test]
    fn an_archive_that_is_cut_off_is_refused() {
        let whole = pack(&[("init", 0o755, &[7; 4096])]).unwrap();
        assert!(read(&whole[..2000]).is_err());
        let packed = zstd::encode_all(whole.as_slice(), 3).unwrap();
        assert!(read(&packed[..packed.len() / 2]).is_err());
    }
}
