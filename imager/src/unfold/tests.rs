//! One image in every form is told to be the same; what is damaged, foreign or cut is told as such.

use std::path::PathBuf;
use std::process::Command;

use machine_config::seed::{self, Seed};

use super::*;
use crate::build::tests::build_sample;
use crate::format::Target;
use crate::inspect::SeedState;
use crate::oracle;
use crate::stamp::testing::fleet;

/// A stamped image and the folder it is in.
fn sample() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("temp folder");
    let (token, name) = (Some("very-secret-token".to_owned().into()), Some("box-7".parse().expect("a name")));
    let seed = Seed { fleet: fleet(1), hub: None, join_token: token, device_name: name, config: None, identity: None };
    let path = build_sample(folder.path(), Some(seed::encode(&seed).expect("encoded")));
    (folder, path)
}

fn made(image: &Path, format: Format) -> PathBuf {
    let source = Source::open(image, &inspect::inspect(image, Depth::Overview).expect("inspected")).expect("opened");
    // The name says nothing: what a file is, it says itself.
    let out = image.with_extension(format!("{format}-file"));
    Target::all(&[format], &out).expect("a place")[0].write(&source).expect("written");
    out
}

fn error(path: &Path) -> String {
    let error = anyhow::Error::from(inspect(path, Depth::Overview).expect_err("refused"));
    format!("{error:#}")
}

#[test]
fn every_form_tells_what_the_raw_image_tells() {
    let (_folder, image) = sample();
    let raw = inspect(&image, Depth::EveryFile).expect("inspected");
    assert_eq!(raw.form, Shape::Form(Format::Raw));
    assert_eq!(raw.inspection, inspect::inspect(&image, Depth::EveryFile).expect("inspected"));
    for format in Format::ALL {
        let path = made(&image, format);
        let found = inspect(&path, Depth::EveryFile).unwrap_or_else(|error| panic!("{format}: {error}"));
        let expected = Inspection { image: path, ..raw.inspection.clone() };
        assert_eq!(found, Unfolded { form: Shape::Form(format), inspection: expected }, "{format}");
        let text = found.to_string();
        for part in [format!("form         {format}"), "for test (x86_64)".into(), "\"box-7\"".into(), "files checked".into()] {
            assert!(text.contains(&part), "{text} lacks {part}");
        }
        assert!(!text.contains("very-secret"), "{text}");
        let json = serde_json::to_value(&found).expect("JSON");
        assert_eq!((&json["form"], &json["release"]["board"]), (&format.as_str().into(), &"test".into()));
    }
}

#[test]
fn every_form_leads_back_to_the_same_raw_image() {
    let (_folder, image) = sample();
    for format in Format::ALL {
        let path = made(&image, format);
        let (_, source) = source(&path).unwrap_or_else(|error| panic!("{format}: {error}"));
        let back = path.with_extension("back");
        Target::all(&[Format::Raw], &back).expect("a place")[0].write(&source).expect("written");
        assert!(std::fs::read(&back).expect("read") == std::fs::read(&image).expect("read"), "{format}");
    }
}

#[test]
fn the_initramfs_out_of_a_netboot_archive_is_inspected_too() {
    let (folder, image) = sample();
    let path = folder.path().join("initramfs");
    let mut archive = tar::Archive::new(File::open(made(&image, Format::Pxe)).expect("opened"));
    let mut entries = archive.entries().expect("an archive").map(|entry| entry.expect("a member"));
    entries.find(|entry| entry.path_bytes().as_ref() == b"initramfs").expect("there").unpack(&path).expect("written");
    let found = inspect(&path, Depth::Overview).expect("inspected");
    assert_eq!(found.form, Shape::Initramfs);
    assert!(matches!(found.inspection.seed, SeedState::Stamped { .. }));
}

/// Changes one byte of a file.
fn damaged(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

/// Where a file has these bytes.
fn place_of(path: &Path, words: &[u8]) -> u64 {
    let bytes = std::fs::read(path).expect("read");
    bytes.windows(words.len()).position(|window| window == words).expect("there") as u64
}

#[test]
fn damage_is_found_wherever_it_is() {
    let (_folder, image) = sample();
    for format in [Format::Iso, Format::Uki, Format::Pxe] {
        // The command line lies outside of the disk image that is carried.
        let path = made(&image, format);
        damaged(&path, place_of(&path, b"loglevel=3"));
        let message = error(&path);
        assert!(message.contains(&format!("it is not the {format} of the disk image in it")), "{message}");
        let path = made(&image, format);
        damaged(&path, place_of(&path, b"hsqs") + 5000);
        let message = error(&path);
        assert!(message.contains("are not those that its index names"), "{message}");
    }
    for (format, expected) in [
        (Format::RawZst, "it is damaged or cut short"),
        (Format::RawGz, "it is damaged or cut short"),
        (Format::Qcow2, "it is damaged or cut short"),
        (Format::Iso, "is cut short"),
        (Format::Uki, "cut short"),
        (Format::Pxe, "no netboot archive"),
    ] {
        let path = made(&image, format);
        let length = std::fs::metadata(&path).expect("there").len();
        File::options().write(true).open(&path).and_then(|file| file.set_len(length / 2 + 7)).expect("cut");
        let message = error(&path);
        assert!(message.contains(expected) && message.contains(&path.display().to_string()), "{format}: {message}");
    }
    let path = made(&image, Format::Qcow2);
    damaged(&path, place_of(&path, b"hsqs") + 5000);
    assert!(error(&path).contains("root hash"), "{}", error(&path));
}

#[test]
fn what_is_no_image_of_ours_says_so() {
    let (folder, image) = sample();
    let path = folder.path().join("other");
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(&image, "initramfs").expect("added");
    let archive = archive.into_inner().expect("written");
    for (bytes, expected) in [
        (&b"short"[..], "it is not a disk image"),
        (&[7; 9000], "it is not a disk image"),
        (&zstd::bulk::compress(&[7; 9000], 1).expect("compressed"), "it is not a disk image"),
        (&b"MZ".repeat(900), "other: cannot"),
        (&archive, "no netboot archive"),
        (b"QFI\xfb\0\0\0\x02", "damaged or cut short"),
        (&[b"QFI\xfb\0\0\0\x02".as_slice(), &[0; 600]].concat(), "another version"),
        (&[b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 600]].concat(), "header is damaged"),
        (&[b"QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\x01".as_slice(), &[0; 600]].concat(), "behind it"),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let message = error(&path);
        assert!(message.contains(expected) && message.contains("other"), "{message}");
    }
    assert!(error(folder.path()).ends_with("it is neither a file nor a disk"));
}

#[test]
fn a_virtual_machine_s_disk_that_qemu_wrote_is_read_as_well() {
    let (folder, image) = sample();
    let path = folder.path().join("qemu.qcow2");
    for (options, expected) in [(None, "skerry       0.1.0"), (Some("-c"), "it is a compressed qcow2 image")] {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", "qcow2"]).args(options).arg(&image).arg(&path);
        let Some(output) = oracle::ask(&mut command) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = inspect(&path, Depth::EveryFile).map_or_else(|error| error.to_string(), |found| found.to_string());
        assert!(text.contains(expected), "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_header_of_a_virtual_machine_s_disk_ends_the_program(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 200), bits in 8u8..23) {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        let mut bytes = bytes;
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        bytes[8..16].fill(0);
        bytes[20..24].copy_from_slice(&[0, 0, 0, bits]);
        bytes[32..40].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
        bytes[40..48].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 104]);
        bytes[72..80].fill(0);
        std::fs::write(file.path(), &bytes).expect("written");
        proptest::prop_assert!(inspect(file.path(), Depth::Overview).is_err());
    }
}
