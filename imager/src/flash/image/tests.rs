use std::fs;

use super::super::testing::{MIB, one, write_sparse};
use super::*;
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
    assert!(image.slack.is_empty() && image.claims.is_empty() && image.range_sums.is_empty());
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
}

#[test]
fn the_free_space_of_slot_a_is_slack_and_no_other_hole_is() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("a.img");
    let slot = 4 * MIB..20 * MIB;
    // A hole inside the content, another behind it.
    write_sparse(&path, 24 * MIB, &[4 * MIB..6 * MIB, 7 * MIB..9 * MIB]);
    let mut file = File::options().read(true).write(true).open(&path).expect("opened");
    let mut table = gptman::GPT::new_from(&mut file, SECTOR_BYTES, [1; 16]).expect("a table");
    table[1] = gptman::GPTPartitionEntry {
        partition_type_guid: Partition::RuntimeA.type_guid().to_bytes_le(),
        unique_partition_guid: [2; 16],
        starting_lba: slot.start / SECTOR_BYTES,
        ending_lba: slot.end / SECTOR_BYTES - 1,
        attribute_bits: 0,
        partition_name: "RUNTIME-A".into(),
    };
    table.write_into(&mut file).expect("written");
    let image = open(&path).expect("an image");
    assert_eq!(image.slack, one(9 * MIB..slot.end));
    let packed = folder.path().join("a.img.zst");
    fs::write(&packed, zstd::bulk::compress(&fs::read(&path).expect("read"), 1).expect("compressed")).expect("written");
    fs::write(folder.path().join("a.img.bmap"), bmap_of(&path)).expect("written");
    assert_eq!(open(&packed).expect("an image").slack, image.slack);
}
