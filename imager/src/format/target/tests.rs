//! Whole files on a disk: every form with what stands beside it, complete or not there, the same twice.

use std::collections::BTreeMap;
use std::process::Command;

use super::*;
use crate::build::tests::build_sample;
use crate::inspect::{self, Depth};
use crate::oracle;

fn source(folder: &Path) -> (PathBuf, Source) {
    let path = build_sample(folder, None);
    let inspection = inspect::inspect(&path, Depth::Overview).expect("inspected");
    (path.clone(), Source::open(&path, &inspection).expect("opened"))
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).expect("read"))).collect()
}

#[test]
fn every_form_appears_with_its_map_its_checksum_and_its_contents_and_twice_the_same() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, source) = source(folder.path());
    let mut written = Vec::new();
    for name in ["one", "other"] {
        let out = folder.path().join(name);
        std::fs::create_dir(&out).expect("made");
        for target in Target::all(&Format::ALL, &out.join("skerry.img")).expect("places") {
            target.write(&source).expect("written");
        }
        written.push(files(&out));
    }
    assert_eq!(written[0].len(), 4 * Format::ALL.len());
    assert!(written[0] == written[1]);
    for format in Format::ALL {
        let name = format!("skerry.{}", extension(format));
        for end in ["bmap", "sha256", "spdx.json"] {
            assert!(written[0].contains_key(&format!("{name}.{end}")), "{name}.{end}");
        }
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict", &format!("{name}.sha256")]).current_dir(folder.path().join("one"));
        let output = oracle::ask(&mut command).expect("every system has sha256sum");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn bmaptool_writes_what_was_built_from_every_form_that_goes_to_a_disk() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (path, source) = source(folder.path());
    let raw = std::fs::read(&path).expect("read");
    for format in [Format::Raw, Format::RawZst, Format::RawGz, Format::Iso] {
        let file = folder.path().join(format!("copy.{}", extension(format)));
        Target::all(&[format], &file).expect("a place")[0].write(&source).expect("written");
        let expected = if format == Format::Iso { std::fs::read(&file).expect("read") } else { raw.clone() };
        // What was on the disk before shines through where the map says that it does not matter.
        let disk = folder.path().join("disk");
        std::fs::write(&disk, vec![0; expected.len()]).expect("made");
        let mut command = Command::new("bmaptool");
        command.args(["--quiet", "copy", "--bmap"]).arg(format!("{}.bmap", file.display())).arg(&file).arg(&disk);
        let Some(output) = oracle::ask(&mut command) else { return };
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(std::fs::read(&disk).expect("read") == expected, "{format}");
    }
}

#[test]
fn a_virtual_disk_has_the_bytes_of_the_raw_image() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (path, source) = source(folder.path());
    let file = folder.path().join("disk.qcow2");
    Target::all(&[Format::Qcow2], &file).expect("a place")[0].write(&source).expect("written");
    let mut command = Command::new("qemu-img");
    let Some(output) = oracle::ask(command.args(["compare", "-f", "raw", "-F", "qcow2"]).args([&path, &file])) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_form_that_cannot_be_written_leaves_nothing_under_its_name() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, source) = source(folder.path());
    let file = folder.path().join("skerry.iso");
    std::fs::create_dir(folder.path().join("skerry.iso.sha256")).expect("made");
    let error = Target::all(&[Format::Iso], &file).expect("a place")[0].write(&source).expect_err("a folder is in the way");
    assert!(error.to_string().contains("skerry.iso.sha256"), "{error}");
    assert!(!file.exists());
}

#[test]
fn one_form_has_the_name_given_and_several_have_their_own() {
    let folder = tempfile::tempdir().expect("temp folder");
    let names = |formats: &[Format], out: &str| -> Vec<String> {
        let targets = Target::all(formats, &folder.path().join(out)).expect("places");
        targets.iter().map(Target::file_name).collect()
    };
    assert_eq!(names(&[Format::Iso], "a.img"), ["a.img"]);
    assert_eq!(names(&[Format::Raw, Format::Iso], "a.img"), ["a.img", "a.iso"]);
    assert_eq!(names(&[Format::RawZst, Format::Pxe], "a.b"), ["a.b.img.zst", "a.b.pxe.tar"]);
}

#[test]
fn strange_names_are_written_as_sha256sum_writes_them() {
    let digest = Digest::of(b"");
    assert_eq!(sha256_line("a b", digest), format!("{}  a b\n", digest.hex()));
    assert_eq!(sha256_line("a\\\nb", digest), format!("\\{}  a\\\\\\nb\n", digest.hex()));
}

#[test]
fn what_holds_a_device_s_secrets_is_its_owner_s_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, source) = source(folder.path());
    for target in Target::all(&[Format::Qcow2, Format::RawZst], &folder.path().join("a.img")).expect("places") {
        let written = target.private().write(&source).expect("written");
        let mode = std::fs::metadata(&written.path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", written.path.display());
    }
}
