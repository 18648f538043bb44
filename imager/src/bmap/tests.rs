//! Maps read back as they were, bmap-tools agrees with them, and what leaves a doubt is refused.

use std::os::unix::fs::FileExt;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::oracle;

/// A sparse image with data at its beginning, in its middle and in its last, short block.
fn image() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("temp file");
    file.as_file().set_len((1 << 20) + 512).expect("sized");
    for (at, bytes) in [(0, 600), (300_000, 20_000), (1 << 20, 512)] {
        file.as_file().write_all_at(&vec![7; bytes], at).expect("written");
    }
    file
}

fn sample() -> Bmap {
    let range = |first_block, blocks| BmapRange { first_block, blocks, sha256: Digest::of(&[first_block as u8]) };
    Bmap { image_bytes: 40_000, block_bytes: 4096, ranges: vec![range(0, 1), range(1, 1), range(4, 3), range(9, 1)] }
}

#[test]
fn a_map_is_written_as_bmap_tools_write_it() {
    let text = sample().to_xml();
    let expected = concat!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> 40000 </ImageSize>\n    <BlockSize> 4096 </BlockSize>\n    ",
        "<BlocksCount> 10 </BlocksCount>\n    <MappedBlocksCount> 6 </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    ",
        "<BmapFileChecksum> "
    );
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\"> 4-6 </Range>") && text.contains("\"> 9 </Range>"), "{text}");
    assert_eq!(Bmap::parse(&text), Ok(sample()));
    assert_eq!(sample().mapped_bytes(), 5 * 4096 + 40_000 - 9 * 4096);
}

#[test]
fn a_sparse_file_is_mapped_where_it_has_data() {
    let file = image();
    let map = Bmap::from_sparse_file(file.as_file()).expect("mapped");
    assert_eq!(map.image_bytes, (1 << 20) + 512);
    for at in [0, 300_000, 319_999, 1 << 20] {
        assert!(map.ranges.iter().any(|range| map.bytes_of(range).contains(&at)), "{at}");
    }
    let last = map.ranges.last().expect("a range");
    assert_eq!(last.sha256, Digest::of(&std::fs::read(file.path()).expect("read")[last.first_block as usize * 4096..]));
}

fn bmaptool(image: &std::path::Path, map: &str) -> Option<(bool, Vec<u8>, String)> {
    let folder = tempfile::tempdir().expect("temp folder");
    let (bmap, out) = (folder.path().join("bmap"), folder.path().join("out"));
    std::fs::write(&bmap, map).expect("written");
    let mut command = Command::new("bmaptool");
    let output = oracle::ask(command.args(["--quiet", "copy", "--bmap"]).args([bmap.as_path(), image, out.as_path()]))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.success(), std::fs::read(&out).unwrap_or_default(), text))
}

#[test]
fn bmaptool_copies_by_our_map_and_refuses_another_images() {
    let file = image();
    let map = Bmap::from_sparse_file(file.as_file()).expect("mapped");
    let Some((good, bytes, text)) = bmaptool(file.path(), &map.to_xml()) else { return };
    assert!(good && bytes == std::fs::read(file.path()).expect("read"), "{text}");
    file.as_file().write_all_at(&[8], 310_000).expect("changed");
    let (good, _, text) = bmaptool(file.path(), &map.to_xml()).expect("installed");
    assert!(!good && text.contains("checksum mismatch"), "{text}");
    let changed = map.to_xml().replacen("1049088", "1049089", 1);
    let (good, _, text) = bmaptool(file.path(), &changed).expect("installed");
    assert!(!good && text.contains("checksum mismatch for bmap file"), "{text}");
}

#[test]
fn a_map_that_bmaptool_made_is_understood() {
    let file = image();
    let Some(output) = oracle::ask(Command::new("bmaptool").arg("create").arg(file.path())) else { return };
    let map = Bmap::parse(&String::from_utf8(output.stdout).expect("text")).expect("understood");
    let ours = Bmap::from_sparse_file(file.as_file()).expect("mapped");
    assert_eq!(map.image_bytes, ours.image_bytes);
    let blocks = |map: &Bmap| map.ranges.iter().flat_map(|r| r.first_block..r.first_block + r.blocks).collect::<Vec<_>>();
    assert_eq!(blocks(&map), blocks(&ours));
}

/// The text with its checksum made right again, so that what is behind the checksum is tested.
fn summed(text: &str) -> String {
    let start = text.find("<BmapFileChecksum> ").expect("there") + "<BmapFileChecksum> ".len();
    let zeros = "0".repeat(64);
    let text = format!("{}{zeros}{}", &text[..start], &text[start + 64..]);
    let sum = Digest::of(text.as_bytes()).hex();
    text.replacen(&zeros, &sum, 1)
}

#[test]
fn what_leaves_a_doubt_is_refused() {
    let text = sample().to_xml();
    for (from, to, expected) in [
        ("<?xml version=\"1.0\" ?>", "", "does not begin with an XML declaration"),
        ("version=\"2.0\"", "version=\"1.3\"", "it is of version 1.3"),
        ("sha256 </Ch", "sha1 </Ch", "its checksums are sha1"),
        ("<BlockSize> 4096", "<BlockSize> 512", "its blocks have 512 bytes"),
        ("<BlocksCount> 10", "<BlocksCount> 11", "40000 bytes are not 11 blocks"),
        ("<MappedBlocksCount> 6", "<MappedBlocksCount> 7", "its ranges have 6 blocks, it says 7"),
        ("<ImageSize> 40000", "<ImageSize> 99999999999999999999", "its ImageSize is"),
        ("<ImageSize> 40000", "<ImageSize> +40000", "its ImageSize is"),
        ("> 4-6 <", "> 0-2 <", "overlaps"),
        ("> 9 <", "> 10 <", "leaves the image"),
        ("> 4-6 <", "> 6-4 <", "ends before it begins"),
        ("> 4-6 <", "> 0-18446744073709551615 <", "ends before it begins"),
        ("> 4-6 <", "> 4,6 <", "its Range is `4,6`"),
        ("Range chksum=\"", "Range sha1=\"", "Range is missing or not as it must be"),
        ("Range chksum=\"", "Range chksum=\"x", "no SHA-256"),
        ("</bmap>\n", "</bmap>\n<more/>", "something follows its end"),
        ("</bmap>\n", "", "bmap is missing"),
        ("<ImageSize>", "<!-- <ImageSize>", "has no end"),
        ("<ImageSize>", "<!DOCTYPE x><ImageSize>", "ImageSize is missing"),
    ] {
        let changed = summed(&text).replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let changed = if changed.contains("<BmapFileChecksum> ") { summed(&changed) } else { changed };
        let error = Bmap::parse(&changed).expect_err(expected).to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

#[test]
fn a_changed_map_is_told_by_its_checksum() {
    let changed = sample().to_xml().replacen("<ImageSize> 40000", "<ImageSize> 40001", 1);
    assert!(matches!(Bmap::parse(&changed), Err(BmapError::Checksum { .. })));
}

proptest! {
    #[test]
    fn every_map_reads_back(runs in prop::collection::vec((0u64..50, 1u64..50), 0..20), more in 1u64..5000) {
        let mut next = 0;
        let mut ranges = Vec::new();
        for (gap, blocks) in runs {
            ranges.push(BmapRange { first_block: next + gap, blocks, sha256: Digest::of(&next.to_le_bytes()) });
            next += gap + blocks;
        }
        let map = Bmap { image_bytes: next * 4096 + more, block_bytes: 4096, ranges };
        prop_assert_eq!(Bmap::parse(&map.to_xml()), Ok(map));
    }

    #[test]
    fn a_damaged_map_never_ends_the_program(at in 0usize..1200, byte in 0u8..128, cut in 0usize..1200) {
        let mut bytes = sample().to_xml().into_bytes();
        bytes.truncate(cut.max(at + 1));
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let text = String::from_utf8(bytes).expect("ASCII");
        if let Ok(map) = Bmap::parse(&text) {
            prop_assert_eq!(map, sample());
        }
    }
}
