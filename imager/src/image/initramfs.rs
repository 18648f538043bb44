//! The initramfs: a tree as a cpio archive (newc), one zstd frame. Owners and times are 0, inode numbers count up.

use std::io::{Cursor, Read, Write};

use cpio::newc::{Builder, ModeFileType, Reader, trailer};

use crate::tree::{Node, Tree, TreeError};

/// No initramfs of ours is larger; what claims to be is not read.
const MOST_BYTES: usize = 1 << 30;
const PERMISSIONS: u32 = 0o7777;
const FILE_TYPE: u32 = 0o170_000;
const LINK_MODE: u32 = 0o777;

/// Why an initramfs cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file cannot be read, or an entry's path is not one.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The format ends at 4 GiB.
    #[error("cannot put {path} into the initramfs: it has {bytes} bytes, the format ends at 4 GiB")]
    Large {
        /// The file.
        path: String,
        /// Its size.
        bytes: usize,
    },
    /// The archive could not be put together.
    #[error("cannot write the initramfs")]
    Write(#[source] std::io::Error),
    /// It cannot be read back.
    #[error("cannot read the initramfs: it is damaged")]
    Read(#[source] std::io::Error),
    /// It holds what no tree can say.
    #[error("cannot accept {path} in the initramfs: it is {found}")]
    Foreign {
        /// The entry.
        path: String,
        /// What it is.
        found: &'static str,
    },
}

/// The archive, not yet compressed.
pub fn archive(tree: &Tree) -> Result<Vec<u8>, InitramfsError> {
    let mut out = Vec::new();
    for (ino, (path, node)) in (1..).zip(tree.iter()) {
        let entry = Builder::new(path.as_str()).ino(ino);
        match node {
            Node::Dir { mode } => {
                let entry = entry.mode(u32::from(*mode)).set_mode_file_type(ModeFileType::Directory).nlink(2);
                append(&mut out, entry, path.as_str(), &[])?;
            }
            Node::File { content, mode } => {
                let entry = entry.mode(u32::from(*mode)).set_mode_file_type(ModeFileType::Regular);
                append(&mut out, entry, path.as_str(), &content.read()?)?;
            }
            Node::Symlink { target } => {
                let entry = entry.mode(LINK_MODE).set_mode_file_type(ModeFileType::Symlink);
                append(&mut out, entry, path.as_str(), target.as_bytes())?;
            }
        }
    }
    trailer(&mut out).map_err(InitramfsError::Write)?;
    Ok(out)
}

fn append(out: &mut Vec<u8>, entry: Builder, path: &str, bytes: &[u8]) -> Result<(), InitramfsError> {
    let size = u32::try_from(bytes.len()).map_err(|_| InitramfsError::Large { path: path.to_owned(), bytes: bytes.len() })?;
    let mut writer = entry.write(out, size);
    writer.write_all(bytes).and_then(|()| writer.finish()).map(drop).map_err(InitramfsError::Write)
}

/// Reads a compressed archive back. Refuses devices, pipes and sockets, and owners other than root.
pub fn read(compressed: &[u8]) -> Result<Tree, InitramfsError> {
    let mut bytes = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(compressed).map_err(InitramfsError::Read)?;
    decoder.take(MOST_BYTES as u64).read_to_end(&mut bytes).map_err(InitramfsError::Read)?;
    let mut tree = Tree::new();
    let mut rest = Cursor::new(bytes.as_slice());
    loop {
        let mut reader = Reader::new(rest).map_err(InitramfsError::Read)?;
        if reader.entry().is_trailer() {
            return Ok(tree);
        }
        let (path, node) = node(&mut reader)?;
        tree.add(&path, node)?;
        rest = reader.finish().map_err(InitramfsError::Read)?;
    }
}

fn node(reader: &mut Reader<Cursor<&[u8]>>) -> Result<(String, Node), InitramfsError> {
    let path = reader.entry().name().to_owned();
    let (whole, owner) = (reader.entry().mode(), (reader.entry().uid(), reader.entry().gid()));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(InitramfsError::Read)?;
    let mode = (whole & PERMISSIONS) as u16;
    let foreign = |found| Err(InitramfsError::Foreign { path: path.clone(), found });
    if owner != (0, 0) {
        return foreign("not root's");
    }
    let node = match whole & FILE_TYPE {
        0o040_000 => Node::Dir { mode },
        0o100_000 => Node::File { content: bytes.into(), mode },
        0o120_000 => Node::Symlink { target: String::from_utf8_lossy(&bytes).into_owned() },
        0o020_000 | 0o060_000 => return foreign("a device node"),
        _ => return foreign("neither file, folder nor link"),
    };
    Ok((path, node))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::oracle;

    fn sample() -> Tree {
        let mut tree = Tree::new();
        tree.add_file("init", vec![1; 5_001], 0o755).expect("added");
        tree.add_file("skerry/release.json", "{}", 0o644).expect("added");
        tree.add_symlink("bin", "usr/bin").expect("added");
        tree.add_dir("usr", 0o755).expect("added");
        tree
    }

    #[test]
    fn a_tree_reads_back_as_it_was() {
        let archive = archive(&sample()).expect("made");
        assert_eq!(archive.len() % 4, 0);
        let compressed = zstd::bulk::compress(&archive, 3).expect("compressed");
        assert!(read(&compressed).expect("read") == sample());
    }

    #[test]
    fn cpio_agrees() {
        let archive = archive(&sample()).expect("made");
        let Some(output) = oracle::ask_about(Command::new("cpio").arg("-itv"), &archive) else { return };
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("-rwxr-xr-x") && text.contains("bin -> usr/bin") && text.contains("skerry/release.json"), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn a_changed_archive_never_ends_the_program(at in 0usize..700, value: u8) {
            let mut bytes = archive(&sample()).expect("made");
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let _ = read(&zstd::bulk::compress(&bytes, 1).expect("compressed"));
        }
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let compressed = zstd::bulk::compress(&archive(&sample()).expect("made"), 3).expect("compressed");
        assert!(matches!(read(&compressed[..compressed.len() / 2]), Err(InitramfsError::Read(_))));
        assert!(matches!(read(b"not zstd"), Err(InitramfsError::Read(_))));
        let cut = zstd::bulk::compress(&archive(&sample()).expect("made")[..400], 3).expect("compressed");
        assert!(matches!(read(&cut), Err(InitramfsError::Read(_))));
    }
}
