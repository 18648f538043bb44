//! Writes a tree as a squashfs image with zstd, and reads one back. Times and owners are 0; order is the tree's; blocks are compressed on all cores
//! beforehand, which changes nothing of the bytes.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backhand::compression::{CompressionAction, CompressionOptions, Compressor as CompressorId, DefaultCompressor, Zstd};
use backhand::kind::Kind;
use backhand::{
    BackhandError, FilesystemCompressor, FilesystemReader, FilesystemWriter, InnerNode, NodeHeader, Squashfs, SquashfsFileReader,
    SuperBlock,
};

use super::compress::Compressor;
use super::window::Window;
use crate::parallel;
use crate::progress::{Event, Progress};
use crate::tree::{Content, DEFAULT_DIR_MODE, Node, Tree, TreeError};

/// Bytes in a data block: the kernel's unit of reading and decompressing.
const BLOCK_BYTES: u32 = 128 << 10;
const BLOCK: usize = BLOCK_BYTES as usize;
/// Blocks a thread takes at once.
const JOB_BLOCKS: usize = 32;
/// Modes of links are always this.
const LINK_MODE: u16 = 0o777;

/// Why a squashfs image cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SquashfsError {
    /// A file of the tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file changed or vanished while it was read.
    #[error("cannot read {path} of the image's tree")]
    Source {
        /// Path in the tree.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The image cannot be written.
    #[error("cannot write the runtime image")]
    Write(#[source] BackhandError),
    /// The image cannot be read back.
    #[error("cannot read the runtime image: it is damaged or not squashfs")]
    Read(#[source] BackhandError),
    /// A file in the image cannot be read back.
    #[error("cannot read {path} from the runtime image: it is damaged")]
    ReadFile {
        /// Path in the image.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The image holds what no tree can say.
    #[error("cannot accept {path} in the runtime image: it is {found}")]
    Foreign {
        /// Path in the image.
        path: String,
        /// What it is.
        found: &'static str,
    },
}

/// Writes `tree` to the beginning of `out`; gives the length, a multiple of 4096.
pub fn write(tree: &Tree, compressor: Compressor, progress: &dyn Progress, out: &mut File) -> Result<u64, SquashfsError> {
    compress_ahead(tree, &compressor, progress)?;
    // The squashfs writer wants a compressor that lives for ever; a process writes few images, and what is in memory is dropped below.
    let blocks: &'static Blocks = Box::leak(Box::new(Blocks(compressor)));
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Kind::new_v4(blocks));
    writer.set_block_size(BLOCK_BYTES);
    writer.set_time(0);
    writer.set_only_root_id();
    writer.set_root_mode(DEFAULT_DIR_MODE);
    let options = CompressionOptions::Zstd(Zstd { compression_level: blocks.0.level().unsigned_abs() });
    writer.set_compressor(FilesystemCompressor::new(CompressorId::Zstd, Some(options)).map_err(SquashfsError::Write)?);
    for (path, node) in tree.iter() {
        push(&mut writer, path.as_str(), node).map_err(SquashfsError::Write)?;
    }
    let written = out.rewind().map_err(BackhandError::from).and_then(|()| writer.write(&mut *out));
    blocks.0.finish(progress);
    let (_, bytes) = written.map_err(SquashfsError::Write)?;
    // A duplicate at the very end may have left bytes behind the image.
    out.set_len(bytes).map_err(|error| SquashfsError::Write(error.into()))?;
    Ok(bytes)
}

fn push<'c>(writer: &mut FilesystemWriter<'_, '_, 'c>, path: &str, node: &Node) -> Result<(), BackhandError> {
    let header = |mode| NodeHeader::new(mode, 0, 0, 0);
    match node {
        Node::File { content: Content::Bytes(bytes), mode } => {
            writer.push_file(Cursor::new(Arc::clone(bytes)), path, header(*mode))
        }
        Node::File { content: Content::Path { path: source }, mode } => writer.push_file_from_path(source, path, header(*mode)),
        Node::Symlink { target } => writer.push_symlink(target, path, header(LINK_MODE)),
        Node::Dir { mode } => writer.push_dir(path, header(*mode)),
    }
}

/// Compresses every full block of every file, on all cores, into the compressor's memory.
fn compress_ahead(tree: &Tree, compressor: &Compressor, progress: &dyn Progress) -> Result<(), SquashfsError> {
    let jobs = jobs(tree)?;
    let total: u64 = jobs.iter().map(|job| job.bytes as u64).sum();
    progress.event(Event::Begin { step: STEP, total_bytes: Some(total) });
    let done = AtomicU64::new(0);
    parallel::map(&jobs, |job| {
        job.run(compressor)?;
        let done_bytes = done.fetch_add(job.bytes as u64, Ordering::Relaxed) + job.bytes as u64;
        progress.event(Event::Advance { step: STEP, done_bytes });
        Ok::<_, SquashfsError>(())
    })?;
    progress.event(Event::End { step: STEP });
    Ok(())
}

const STEP: &str = "compress the runtime image";

/// A run of blocks of one file.
struct Job<'a> {
    path: &'a str,
    content: &'a Content,
    offset: usize,
    bytes: usize,
}

fn jobs(tree: &Tree) -> Result<Vec<Job<'_>>, SquashfsError> {
    let mut jobs = Vec::new();
    for (path, node) in tree.iter() {
        let Node::File { content, .. } = node else { continue };
        let length = usize::try_from(content.len()?).unwrap_or(usize::MAX);
        if length < BLOCK {
            continue; // it becomes part of a fragment, whose bytes are known only to the writer
        }
        for offset in (0..length).step_by(JOB_BLOCKS * BLOCK) {
            jobs.push(Job { path: path.as_str(), content, offset, bytes: (length - offset).min(JOB_BLOCKS * BLOCK) });
        }
    }
    Ok(jobs)
}

impl Job<'_> {
    fn run(&self, compressor: &Compressor) -> Result<(), SquashfsError> {
        let failed = |source| SquashfsError::Source { path: self.path.to_owned(), source };
        let mut buffer;
        let bytes = match self.content {
            Content::Bytes(bytes) => &bytes[self.offset..self.offset + self.bytes],
            Content::Path { path } => {
                buffer = vec![0; self.bytes];
                let file = File::open(path).map_err(failed)?;
                file.read_exact_at(&mut buffer, self.offset as u64).map_err(failed)?;
                &buffer
            }
        };
        let stored = bytes.chunks(BLOCK).filter(|block| block.iter().any(|byte| *byte != 0));
        stored
            .map(|block| compressor.compress(block))
            .try_for_each(|made| made.map(drop))
            .map_err(|error| failed(std::io::Error::other(error)))
    }
}

/// Hands the squashfs writer what was compressed ahead.
struct Blocks(Compressor);

impl CompressionAction for Blocks {
    type Error = BackhandError;
    type Compressor = CompressorId;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;

    fn decompress(&self, bytes: &[u8], out: &mut Vec<u8>, compressor: CompressorId) -> Result<(), BackhandError> {
        DefaultCompressor.decompress(bytes, out, compressor)
    }

    fn compress(&self, bytes: &[u8], _: FilesystemCompressor, _: u32) -> Result<Vec<u8>, BackhandError> {
        self.0.compress(bytes).map(|made| made.to_vec()).map_err(|error| std::io::Error::other(error).into())
    }

    fn compression_options(
        &self,
        block: &mut SuperBlock,
        kind: &Kind,
        fs: FilesystemCompressor,
    ) -> Result<Option<Vec<u8>>, BackhandError> {
        DefaultCompressor.compression_options(block, kind, fs)
    }
}

/// An image opened for reading.
pub struct Image<'a> {
    reader: FilesystemReader<'a>,
    has_xattrs: bool,
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").finish_non_exhaustive()
    }
}

impl<'a> Image<'a> {
    /// Opens the image that is seen through `window`.
    pub fn open(window: Window<'a>) -> Result<Self, SquashfsError> {
        let squashfs = Squashfs::from_reader_with_offset(BufReader::new(window), 0).map_err(SquashfsError::Read)?;
        let has_xattrs = squashfs.superblock.xattr_table != u64::MAX;
        let reader = squashfs.into_filesystem_reader().map_err(SquashfsError::Read)?;
        Ok(Self { reader, has_xattrs })
    }

    /// The bytes of one file; none: no such file.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SquashfsError> {
        let wanted = std::path::Path::new("/").join(path);
        let found = self.reader.files().find(|node| node.fullpath == wanted);
        match found.map(|node| &node.inner) {
            Some(InnerNode::File(file)) => self.read(path, file).map(Some),
            _ => Ok(None),
        }
    }

    /// The whole image as a tree of what `know` makes of each file's bytes, which are not kept. Refuses devices, pipes, sockets,
    /// extended attributes (file capabilities) and owners other than root.
    pub fn tree<C: PartialEq + Send>(&self, know: impl Fn(&[u8]) -> C + Sync) -> Result<Tree<C>, SquashfsError> {
        if self.has_xattrs {
            return Err(foreign("/", "carrying extended attributes, such as file capabilities"));
        }
        let nodes: Vec<_> = self.reader.files().map(|node| (node.fullpath.to_string_lossy(), node)).collect();
        let made = parallel::map(&nodes, |(path, node)| self.node(path, node, &know))?;
        let mut tree = Tree::default();
        for ((path, _), node) in nodes.iter().zip(made).filter(|((path, _), _)| path != "/") {
            tree.add(path, node)?;
        }
        Ok(tree)
    }

    fn node<C>(&self, path: &str, node: &Stored, know: impl Fn(&[u8]) -> C) -> Result<Node<C>, SquashfsError> {
        if node.header.uid != 0 || node.header.gid != 0 {
            return Err(foreign(path, "not root's"));
        }
        let mode = node.header.permissions;
        match &node.inner {
            InnerNode::Dir(_) => Ok(Node::Dir { mode }),
            InnerNode::File(file) => Ok(Node::File { content: know(&self.read(path, file)?), mode }),
            InnerNode::Symlink(link) => Ok(Node::Symlink { target: link.link.to_string_lossy().into_owned() }),
            InnerNode::CharacterDevice(_) | InnerNode::BlockDevice(_) => Err(foreign(path, "a device node")),
            InnerNode::NamedPipe => Err(foreign(path, "a pipe")),
            InnerNode::Socket => Err(foreign(path, "a socket")),
        }
    }

    /// The length a file claims is believed only as far as it is there.
    fn read(&self, path: &str, file: &SquashfsFileReader) -> Result<Vec<u8>, SquashfsError> {
        let failed = |source| SquashfsError::ReadFile { path: path.to_owned(), source };
        let file = self.reader.file(file);
        let mut reader = file.reader_checked().map_err(|error| failed(std::io::Error::other(error)))?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// An entry of an image.
type Stored = backhand::Node<SquashfsFileReader>;

fn foreign(path: &str, found: &'static str) -> SquashfsError {
    SquashfsError::Foreign { path: path.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cache::DerivedCache;
    use crate::oracle;
    use crate::progress::Silent;

    fn sample() -> Tree {
        let mut tree = Tree::new();
        let noise: Vec<u8> = (0..400_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        tree.add_file("bin/big", noise.clone(), 0o755).expect("added");
        tree.add_file("bin/copy", noise, 0o755).expect("added");
        tree.add_file("lib/zeros", vec![0; 300_000], 0o644).expect("added");
        tree.add_file("lib/exact", vec![7; BLOCK * 2], 0o644).expect("added");
        tree.add_file("share/empty", Vec::new(), 0o600).expect("added");
        tree.add_file("share/text", "hello\n", 0o644).expect("added");
        tree.add_symlink("lib64", "lib").expect("added");
        tree.add_dir("empty", 0o700).expect("added");
        tree
    }

    fn written(tree: &Tree, cache: DerivedCache) -> (File, u64) {
        let mut file = tempfile::tempfile().expect("temp file");
        let bytes = write(tree, Compressor::new(3, cache), &Silent, &mut file).expect("written");
        (file, bytes)
    }

    fn bytes(file: &File, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; count as usize];
        file.read_exact_at(&mut bytes, 0).expect("read");
        bytes
    }

    #[test]
    fn a_tree_reads_back_as_it_was() {
        let (file, count) = written(&sample(), DerivedCache::none());
        assert_eq!((count % 4096, file.metadata().expect("there").len()), (0, count));
        let image = Image::open(Window::new(&file, 0, count)).expect("opened");
        assert!(image.tree(|bytes| Content::from(bytes)).expect("read") == sample());
        assert_eq!(image.file("share/text").expect("read").as_deref(), Some(&b"hello\n"[..]));
        assert_eq!(image.file("share/none").expect("read"), None);
    }

    #[test]
    fn unsquashfs_agrees() {
        let (file, count) = written(&sample(), DerivedCache::none());
        let folder = tempfile::tempdir().expect("temp folder");
        let image = folder.path().join("image");
        std::fs::write(&image, bytes(&file, count)).expect("written");
        let Some(output) = oracle::ask(Command::new("/usr/bin/unsquashfs").args(["-lln"]).arg(&image)) else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains("-rwxr-xr-x 0/0") && text.contains("1970-01-01 00:00") && text.contains("squashfs-root/lib64 -> lib"),
            "{text}"
        );
    }

    #[test]
    fn a_cache_changes_no_byte() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (plain, count) = written(&sample(), DerivedCache::none());
        let plain = bytes(&plain, count);
        for run in ["cold", "warm"] {
            let (cached, count) = written(&sample(), DerivedCache::at(folder.path()));
            assert!(bytes(&cached, count) == plain, "{run}");
        }
    }

    #[test]
    fn a_damaged_image_is_refused() {
        let (file, count) = written(&sample(), DerivedCache::none());
        file.write_all_at(&[0xff; 64], 0).expect("damaged");
        assert!(matches!(Image::open(Window::new(&file, 0, count)), Err(SquashfsError::Read(_))));
    }
}
