//! Archives as streams of entries: found by name, decompressed by what their first bytes say, their entry names checked.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be opened or decompressed, or its tar structure is broken.
    #[error("it is damaged or not a tar archive: {0}")]
    Read(#[from] io::Error),
    /// An entry's name leads out of the archive.
    #[error("its entry `{0}` leads out of the archive")]
    Escapes(String),
    /// It holds more entries or documents than any image archive does.
    #[error("it holds more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
}

/// The archives in the folders, by folder, then by name. A folder that is not there holds none.
pub(super) fn find(folders: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut archives: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| is_archive(path) && path.is_file()).collect();
        archives.sort();
        found.extend(archives);
    }
    found
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    !name.starts_with('.') && [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|ending| name.ends_with(ending))
}

/// Opens an archive, whatever it is compressed with.
pub(super) fn open(path: &Path) -> Result<tar::Archive<Box<dyn Read>>, ArchiveError> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let start = file.fill_buf()?;
    let content: Box<dyn Read> = if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(ZstdFrames { source: file, decoder: FrameDecoder::new(), in_frame: false })
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(tar::Archive::new(content))
}

/// An entry's name without `./`; one with `..` or a root is refused.
pub(super) fn entry_name(bytes: &[u8]) -> Result<String, ArchiveError> {
    let name = String::from_utf8_lossy(bytes);
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if name.starts_with('/') || parts.contains(&"..") {
        return Err(ArchiveError::Escapes(name.into_owned()));
    }
    Ok(parts.join("/"))
}

/// What a link in a docker archive points at: relative to the link's own folder, inside the archive.
pub(super) fn link_target(link: &str, target: &[u8]) -> Result<String, ArchiveError> {
    let escapes = || ArchiveError::Escapes(String::from_utf8_lossy(target).into_owned());
    let text = std::str::from_utf8(target).map_err(|_| escapes())?;
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(escapes)?),
            part => parts.push(part),
        }
    }
    if text.starts_with('/') { Err(escapes()) } else { Ok(parts.join("/")) }
}

/// All frames of a zstd stream, one after the other; `zstd -T` and `cat` make more than one.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
                continue;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if self.decoder.is_finished() {
                self.in_frame = false;
            } else {
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_names_lose_their_dots_and_may_not_escape() {
        let cases = [("./index.json", Some("index.json")), ("blobs//sha256/x", Some("blobs/sha256/x")), ("a/./b", Some("a/b"))];
        for (name, expected) in cases.into_iter().chain(["../x", "/etc/passwd", "a/../../b", "a/.."].map(|name| (name, None))) {
            assert_eq!(entry_name(name.as_bytes()).ok().as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_archive_only() {
        let cases = [("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")), ("a/l", "x", Some("a/x")), ("l", "x", Some("x"))];
        for (link, target, expected) in cases.into_iter().chain([("a/l", "../../x", None), ("a/l", "/etc/passwd", None)]) {
            assert_eq!(link_target(link, target.as_bytes()).ok().as_deref(), expected, "{link} -> {target}");
        }
    }

    #[test]
    fn two_frames_and_what_zstd_says_between_them_are_one_stream() {
        let compress = |text: &[u8]| ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let stream = [compress(b"hello "), skippable, compress(b"world")].concat();
        let mut text = String::new();
        let mut frames = ZstdFrames { source: stream.as_slice(), decoder: FrameDecoder::new(), in_frame: false };
        frames.read_to_string(&mut text).expect("valid frames");
        assert_eq!(text, "hello world");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let stream = ruzstd::encoding::compress_to_vec(&[7; 100_000][..], ruzstd::encoding::CompressionLevel::Fastest);
        let cut = &stream[..stream.len() - 3];
        let mut frames = ZstdFrames { source: cut, decoder: FrameDecoder::new(), in_frame: false };
        assert!(frames.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn archives_are_found_by_ending_and_in_order() {
        let folder = tempfile::tempdir().expect("a temp folder");
        for name in ["b.tar.zst", "a.tar", ".hidden.tar", "c.txt", "d.tgz"] {
            std::fs::write(folder.path().join(name), "").expect("the folder is ours");
        }
        let found = find(&[Path::new("/nonexistent"), folder.path()]);
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.tar", "b.tar.zst", "d.tgz"]);
    }
}
