//! What one's own netboot server hands out, as a tar archive: kernel, initramfs of the RAM form, command line, a script for iPXE, and checksums.

use std::fs::File;
use std::io;

use tar::{EntryType, Header};

use super::pieces::Pieces;
use crate::image::digest::{Digest, Hasher};

/// tar's own unit.
const BLOCK_BYTES: u64 = 512;
const PERMISSIONS: u32 = 0o644;
/// The member that holds SEED.
pub(crate) const INITRAMFS: &str = "initramfs";

/// What goes into the archive.
#[derive(Debug)]
pub(super) struct Parts {
    /// The kernel.
    pub(super) kernel: Vec<u8>,
    /// Its initramfs, RAM form.
    pub(super) initramfs: Pieces,
    /// Its command line.
    pub(super) command_line: String,
    /// Time of the files, seconds since 1970.
    pub(super) time: u64,
}

/// The archive, as pieces. The initramfs is read once for its checksum; it is the last member.
pub(super) fn plan(parts: Parts, image: &File) -> io::Result<Pieces> {
    let mut sum = Hasher::new();
    io::copy(&mut parts.initramfs.reader(image), &mut sum)?;
    let members = [
        ("vmlinuz", parts.kernel),
        ("cmdline", format!("{}\n", parts.command_line).into_bytes()),
        ("boot.ipxe", script(&parts.command_line).into_bytes()),
    ];
    let line = |name: &str, digest: Digest| format!("{}  {name}\n", digest.hex());
    let mut sums: String = members.iter().map(|(name, bytes)| line(name, Digest::of(bytes))).collect();
    sums += &line(INITRAMFS, sum.finish());
    let mut pieces = Pieces::new();
    for (name, bytes) in members.into_iter().chain([("sha256sums", sums.into_bytes())]) {
        pieces.add(header(name, bytes.len() as u64, parts.time)?);
        pieces.add(bytes);
        pieces.pad(BLOCK_BYTES);
    }
    pieces.add(header(INITRAMFS, parts.initramfs.bytes(), parts.time)?);
    pieces.append(parts.initramfs);
    pieces.pad(BLOCK_BYTES);
    pieces.add_zeros(2 * BLOCK_BYTES);
    Ok(pieces)
}

fn script(command_line: &str) -> String {
    format!("#!ipxe\nkernel vmlinuz initrd={INITRAMFS} {command_line}\ninitrd --name {INITRAMFS} {INITRAMFS}\nboot\n")
}

fn header(name: &str, bytes: u64, time: u64) -> io::Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(PERMISSIONS);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_member_is_what_the_checksums_say() {
        let mut initramfs = Pieces::new();
        initramfs.add(vec![7; 1000]);
        let parts = Parts { kernel: b"kernel".to_vec(), initramfs, command_line: "quiet".into(), time: 1_700_000_000 };
        let image = tempfile::tempfile().expect("temp file");
        let mut bytes = Vec::new();
        plan(parts, &image).expect("planned").reader(&image).read_to_end(&mut bytes).expect("read");
        let (mut sums, mut found) = (String::new(), String::new());
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("an archive") {
            let mut entry = entry.expect("a member");
            let name = entry.path().expect("a name").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("read");
            assert_eq!((entry.header().mtime().ok(), entry.header().mode().ok()), (Some(1_700_000_000), Some(0o644)));
            match name.as_str() {
                "sha256sums" => sums = String::from_utf8(content).expect("text"),
                _ => found += &format!("{}  {name}\n", Digest::of(&content).hex()),
            }
        }
        assert_eq!(sums, found);
        assert_eq!(found.lines().last().map(|line| line.ends_with("  initramfs")), Some(true));
    }

    #[test]
    fn the_script_names_the_initramfs_twice() {
        assert_eq!(script("quiet"), "#!ipxe\nkernel vmlinuz initrd=initramfs quiet\ninitrd --name initramfs initramfs\nboot\n");
    }
}
