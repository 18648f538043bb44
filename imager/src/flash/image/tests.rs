use std::fs;

use machine_config::disk::Partition;

use super::super::testing::{MIB, one, write_sparse};
use super::*;
use crate::build::tests::build_sample;
use crate::stamp::testing::public;

fn open(path: &Path) -> Result<Image, ImageError> {
    Image::open(path, &Trust::default())
}

fn bmap_of(path: &Path) -> String {
    Bmap::from_sparse_file(&File::open(path).expect("opened")).expect("mapped").to_xml()
}

/// An image with one mapped range, and its path.
fn sparse(folder: &Path) -> PathBuf {
    let path = folder.join("a.img");
    write_sparse(&path, 8 * MIB, &one(MIB..2 * MIB));
    path
}

#[test]
fn holes_are_the_map_where_nothing_else_is() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = open(&sparse(folder.path())).expect("an image");
    assert_eq!((image.bytes, &image.map, image.encoding), (8 * MIB, &Map::Holes, Encoding::Raw));
    assert_eq!(image.mapped, one(MIB..2 * MIB));
    assert!(image.claims.is_empty() && image.range_sums.is_empty());
}

#[test]
fn a_block_map_goes_before_holes_and_its_sums_before_nothing() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = sparse(folder.path());
    fs::write(folder.path().join("a.bmap"), bmap_of(&path)).expect("written");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole).expect("no longer sparse");
    let image = open(&path).expect("an image");
    assert_eq!((&image.mapped, image.range_sums.len()), (&one(MIB..2 * MIB), 1));
    assert_eq!(image.stray, [0..MIB, 2 * MIB..8 * MIB]);
    let sums = format!("{}  b.img\n{}  a.img\n", Digest::of(b"b"), Digest::of(&whole));
    fs::write(folder.path().join("a.img.sha256"), sums).expect("written");
    let image = open(&path).expect("an image");
    assert_eq!((image.claims[0].sha256, image.claims[0].of), (Digest::of(&whole), Of::Content));
    assert!(image.range_sums.is_empty(), "the whole is compared, so its parts need not be");
}

#[test]
fn what_cannot_be_flashed_says_why() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = sparse(folder.path());
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    write("short.img.bmap", bmap_of(&path).as_bytes());
    write("broken.img.bmap", b"<bmap/>");
    write("sum.img.sha256", b"no sum at all\n");
    write("hex.img.sha256", b"abc  hex.img\n");
    write("claimed.manifest.json", b"{}");
    for (path, expected) in [
        (folder.path().join("none.img"), "none.img"),
        (folder.path().to_owned(), "it is no file"),
        (write("empty.img", b""), "0 bytes are no disk image"),
        (write("odd.img", &[1; 513]), "513 bytes are no disk image"),
        (write("x.raw.zst", b"?"), "x.raw.zst.bmap"),
        (write("short.img", &[1; 512]), "it has 512 bytes, its block map says 8388608"),
        (write("broken.img", &[1; 512]), "broken.img.bmap"),
        (write("sum.img", &[1; 512]), "no line `SHA-256  sum.img`"),
        (write("hex.img", &[1; 512]), "hex.img.sha256"),
        (write("claimed.img", &[1; 512]), "claimed.manifest.json"),
    ] {
        let error = open(&path).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let trust = Trust { manifest: Some(folder.path().join("none.json")), station: Some(public(1)) };
    assert!(Image::open(&path, &trust).expect_err("no manifest").to_string().contains("none.json"));
    let trust = Trust { manifest: None, station: Some(public(1)) };
    assert!(Image::open(&path, &trust).expect_err("no manifest").to_string().contains("--stamped-by asks for a manifest"));
}

#[test]
fn a_skerry_image_needs_no_map_beside_it() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = build_sample(folder.path(), None);
    let image = open(&path).expect("an image");
    assert_eq!((&image.map, image.map.unmapped()), (&Map::Meaning, Unmapped::Nothing));
    let disk = Disk::open(&path).expect("a disk");
    assert_eq!(image.mapped, mapped::of(&disk).expect("mapped").ranges);
    let seed = disk.partition(Partition::Seed).expect("there");
    assert!(image.mapped.contains(&(seed.offset..seed.offset + seed.bytes)), "an empty SEED is written too");
    assert!(image.written.len() <= image.mapped.len() && image.written_bytes() < image.bytes / 2);
}
