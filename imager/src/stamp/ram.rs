//! Proves that an image in the RAM form is whole before it is stamped: every block of the disk image in it has the hash that the index beside it
//! says. Reads the initramfs as the kernel does, archive after archive, and unpacks nothing to a disk.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use cpio::NewcReader;
use machine_config::ram_form::{self, Extent, RamFormError, RamImage};

use crate::image::digest::Hasher;
use crate::image::release::{self, Release};
use crate::image::window::Window;

/// What an archive that is not compressed begins with.
const CPIO_MAGIC: &[u8] = b"070701";
/// What a zstd frame begins with.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Files that say what the image is are no larger.
const MOST_TEXT_BYTES: u64 = 4 << 20;
const READ_BYTES: usize = 1 << 20;
/// The kernel takes an archive behind another one where a multiple of this begins.
const ALIGN: u64 = 4;

/// Why an image in the RAM form is not whole.
#[derive(Debug, thiserror::Error)]
pub enum RamBaseError {
    /// The initramfs cannot be read.
    #[error("cannot read its initramfs: it is damaged; copy the image again")]
    Read(#[source] io::Error),
    /// The index is none.
    #[error(transparent)]
    Index(#[from] RamFormError),
    /// A file that every such image has is missing, or not where it is read in time.
    #[error("cannot use its initramfs: /{path} is not in it, or behind what needs it")]
    Missing {
        /// Which file.
        path: &'static str,
    },
    /// release.json is wrong.
    #[error("cannot use /{path} in its initramfs", path = release::PATH)]
    Release(#[source] serde_json::Error),
    /// Whoever asked for the blocks cannot keep them.
    #[error("cannot keep the disk image that is in it")]
    Keep(#[source] io::Error),
    /// The blocks are not those of the index.
    #[error("cannot trust it: the blocks of the disk image at {offset} are not those that its index names; copy the image again")]
    Blocks {
        /// Where in the disk image.
        offset: u64,
    },
}

/// What takes the blocks of the disk image: where they belong, and what they are.
pub type Take<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// What was found so far.
#[derive(Default)]
struct Found {
    release: Option<Release>,
    index: Option<RamImage>,
    blocks_checked: bool,
}

/// What the image is whose initramfs this is, once every block in it is proved.
///
/// # Errors
/// See [`RamBaseError`].
pub(super) fn check(file: &File, initramfs: Extent) -> Result<Release, RamBaseError> {
    read(file, initramfs, &mut |_, _| Ok(())).map(|(release, _)| release)
}

/// The same, with the index; `take` gets every block of the disk image. They are proved only when this ends well.
///
/// # Errors
/// See [`RamBaseError`].
pub fn read(file: &File, initramfs: Extent, take: Take<'_>) -> Result<(Release, RamImage), RamBaseError> {
    let mut reader = BufReader::new(Window::new(file, initramfs.offset, initramfs.bytes));
    let mut found = Found::default();
    while let Some(kind) = next_archive(&mut reader).map_err(RamBaseError::Read)? {
        reader = match kind {
            Kind::Plain => found.archive(reader, take)?,
            Kind::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(RamBaseError::Read)?;
                let mut rest = found.archive(decoder.single_frame(), take)?;
                io::copy(&mut rest, &mut io::sink()).map_err(RamBaseError::Read)?;
                rest.finish()
            }
        };
    }
    let index = found.index.filter(|_| found.blocks_checked).ok_or(RamBaseError::Missing { path: ram_form::IMAGE })?;
    Ok((found.release.ok_or(RamBaseError::Missing { path: release::PATH })?, index))
}

/// How an archive is stored.
enum Kind {
    Plain,
    Zstd,
}

/// Goes to where the next archive begins; none at the end.
fn next_archive(reader: &mut BufReader<Window<'_>>) -> io::Result<Option<Kind>> {
    loop {
        let at = reader.stream_position()?.next_multiple_of(ALIGN);
        reader.seek(SeekFrom::Start(at))?;
        let mut magic = Vec::new();
        reader.take(CPIO_MAGIC.len() as u64).read_to_end(&mut magic)?;
        let kind = match magic.as_slice() {
            magic if magic == CPIO_MAGIC => Kind::Plain,
            magic if magic.starts_with(ZSTD_MAGIC) => Kind::Zstd,
            [] => return Ok(None),
            magic if magic.iter().take(ALIGN as usize).all(|byte| *byte == 0) => {
                reader.seek(SeekFrom::Start(at + ALIGN))?;
                continue;
            }
            _ => return Err(io::Error::other("neither an archive nor filling")),
        };
        reader.seek(SeekFrom::Start(at))?;
        return Ok(Some(kind));
    }
}

impl Found {
    /// Reads one archive to its trailer and gives back what follows.
    fn archive<R: Read>(&mut self, mut from: R, take: Take<'_>) -> Result<R, RamBaseError> {
        loop {
            let mut entry = NewcReader::new(from).map_err(RamBaseError::Read)?;
            if entry.entry().is_trailer() {
                return entry.finish().map_err(RamBaseError::Read);
            }
            match entry.entry().name().to_owned().as_str() {
                release::PATH => {
                    let release = serde_json::from_slice(&text(&mut entry)?).map_err(RamBaseError::Release)?;
                    self.release = Some(release);
                }
                ram_form::INDEX => self.index = Some(RamImage::parse(&text(&mut entry)?)?),
                ram_form::IMAGE => self.blocks(&mut entry, take)?,
                _ => {}
            }
            from = entry.finish().map_err(RamBaseError::Read)?;
        }
    }

    fn blocks(&mut self, from: &mut impl Read, take: Take<'_>) -> Result<(), RamBaseError> {
        let index = self.index.as_ref().ok_or(RamBaseError::Missing { path: ram_form::INDEX })?;
        let mut buffer = vec![0; READ_BYTES];
        for range in &index.ranges {
            let (mut hasher, mut at) = (Hasher::new(), range.offset);
            let mut blocks = from.take(range.bytes);
            loop {
                let count = blocks.read(&mut buffer).map_err(RamBaseError::Read)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
                take(at, &buffer[..count]).map_err(RamBaseError::Keep)?;
                at += count as u64;
            }
            if hasher.finish().hex() != range.sha256.as_str() {
                return Err(RamBaseError::Blocks { offset: range.offset });
            }
        }
        self.blocks_checked = true;
        Ok(())
    }
}

fn text(from: &mut impl Read) -> Result<Vec<u8>, RamBaseError> {
    let mut bytes = Vec::new();
    from.take(MOST_TEXT_BYTES).read_to_end(&mut bytes).map_err(RamBaseError::Read)?;
    Ok(bytes)
}
