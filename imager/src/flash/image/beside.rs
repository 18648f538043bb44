//! What lies beside an image: its block map, its checksum, its manifest. Reads them; compares nothing with the image's content.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Encoding, ImageError, Trust};
use crate::bmap::Bmap;
use crate::image::digest::Digest;
use crate::stamp::manifest::Manifest;

/// What a checksum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The image as a drive has it.
    Content,
    /// The file as it is, compressed.
    File,
}

/// Something that says what an image hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it says.
    pub sha256: Digest,
    /// Of what.
    pub of: Of,
    /// The manifest or checksum file.
    pub by: PathBuf,
}

/// The text of a file; none: it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageError::Read { path: path.to_owned(), source }),
    }
}

/// A name with something behind it.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The names under which `bmaptool` looks for a block map: `x.raw.zst.bmap`, `x.raw.bmap`, `x.bmap`.
fn bmap_names(path: &Path) -> Vec<PathBuf> {
    let stems = std::iter::successors(Some(path.to_owned()), |path| path.extension().map(|_| path.with_extension("")));
    stems.map(|stem| with_end(&stem, ".bmap")).collect()
}

/// The manifest that the caller names, or else the one beside the image.
fn manifest_name(image: &Path, trust: &Trust) -> PathBuf {
    trust.manifest.clone().unwrap_or_else(|| image.with_extension("manifest.json"))
}

/// The image and all the names beside it that are looked at, whether something is there or not.
pub(super) fn all(image: &Path, trust: &Trust) -> Vec<PathBuf> {
    let beside = [image.to_owned(), manifest_name(image, trust), with_end(image, ".sha256")];
    beside.into_iter().chain(bmap_names(image)).collect()
}

/// The block map of an image, and where it is.
pub(super) fn bmap(image: &Path) -> Result<Option<(PathBuf, Bmap)>, ImageError> {
    for path in bmap_names(image) {
        let Some(bytes) = read(&path)? else { continue };
        let bmap =
            Bmap::parse(&String::from_utf8_lossy(&bytes)).map_err(|source| ImageError::Bmap { path: path.clone(), source })?;
        return match std::fs::metadata(image) {
            Ok(meta) if Encoding::of(image) == Encoding::Raw && meta.len() != bmap.image_bytes => Err(ImageError::Length {
                path: image.to_owned(),
                found: meta.len(),
                expected: bmap.image_bytes,
                by: "its block map",
            }),
            Ok(_) | Err(_) => Ok(Some((path, bmap))),
        };
    }
    Ok(None)
}

/// The manifest of an image, and what it claims.
pub(super) fn manifest(image: &Path, trust: &Trust) -> Result<(Option<Manifest>, Vec<Claim>), ImageError> {
    let path = manifest_name(image, trust);
    let bytes = match (read(&path)?, &trust.manifest) {
        (Some(bytes), _) => bytes,
        // Whoever took the manifest away may have changed the image too.
        (None, None) if trust.station.is_some() => return Err(ImageError::NoManifest { image: image.to_owned(), path }),
        (None, None) => return Ok((None, Vec::new())),
        (None, Some(_)) => return Err(ImageError::Read { path, source: ErrorKind::NotFound.into() }),
    };
    let manifest = Manifest::read(&bytes, trust.station.as_ref());
    let manifest = manifest.map_err(|source| ImageError::Manifest { path: path.clone(), source })?;
    let claim = Claim { sha256: manifest.image.sha256, of: Of::Content, by: path };
    Ok((Some(manifest), vec![claim]))
}

/// What the checksum file of an image claims, in the form that `sha256sum` writes and reads.
pub(super) fn sha256(image: &Path, encoding: Encoding) -> Result<Option<Claim>, ImageError> {
    let by = with_end(image, ".sha256");
    let Some(bytes) = read(&by)? else { return Ok(None) };
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = String::from_utf8_lossy(&bytes);
    let Some(sum) = text.lines().find_map(|line| sum_of(line, &name)) else { return Err(ImageError::NoSum { path: by, name }) };
    let sha256 = sum.parse().map_err(|source| ImageError::Sum { path: by.clone(), source })?;
    let of = if encoding == Encoding::Raw { Of::Content } else { Of::File };
    Ok(Some(Claim { sha256, of, by }))
}

/// The checksum on a line `SUM  NAME` or `SUM *NAME`.
fn sum_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (sum, rest) = line.split_once(' ')?;
    let found = rest.strip_prefix([' ', '*'])?;
    (found == name).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_maps_are_looked_for_under_the_names_bmaptool_knows() {
        let names = bmap_names(Path::new("out/x.raw.zst"));
        assert_eq!(names, ["out/x.raw.zst.bmap", "out/x.raw.bmap", "out/x.bmap"].map(PathBuf::from));
    }

    #[test]
    fn a_sum_belongs_to_the_name_behind_it() {
        for (line, expected) in [
            ("ab  x.img", Some("ab")),
            ("ab *x.img", Some("ab")),
            ("ab  y.img", None),
            ("ab x.img", None),
            ("ab", None),
            ("", None),
        ] {
            assert_eq!(sum_of(line, "x.img"), expected, "{line}");
        }
    }
}
