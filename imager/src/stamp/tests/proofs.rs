//! What a proof tells of an image that is not what it was.

use std::fs::OpenOptions;
use std::path::Path;

use super::{Bench, Existing, damage, image, seed_of};
use crate::image::digest::Digest;
use crate::stamp::manifest::{Manifest, ManifestError};
use crate::stamp::testing::{key, public};
use crate::stamp::verify::{VerifyError, verify};

/// First boot moves the tables to the end of the disk that the image was written to; so does `sgdisk -e`.
fn move_tables(path: &Path) -> bool {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(64 << 20)).expect("grown");
    let output = crate::oracle::ask(std::process::Command::new("sgdisk").arg("-e").arg(path));
    output.inspect(|output| assert!(output.status.success(), "{output:?}")).is_some()
}

#[test]
fn what_was_changed_is_told_by_where_it_is() {
    let bench = Bench::new();
    let seed = seed_of(&bench.base);
    let length = std::fs::metadata(&bench.base).expect("there").len();
    for (offset, expected) in [
        (100, "differs from its base outside SEED"),
        (seed.start as u64 - 1, "differs from its base outside SEED"),
        (seed.end as u64, "differs from its base outside SEED"),
        (length - 5000, "differs from its base outside SEED"),
        (seed.start as u64, "its SEED is not the one stamped for box-1"),
        (seed.start as u64 + 60, "its SEED is not the one stamped for box-1"),
        (seed.end as u64 - 1, "its SEED is not the one stamped for box-1"),
    ] {
        let one = bench.run("box-1,S1\n", Existing::Replace).expect("stamped").remove(0);
        bench.verify(&one).expect("proved");
        damage(image(&one), offset);
        assert!(bench.refused(&one).contains(expected), "{offset}: {}", bench.refused(&one));
    }
    let one = bench.run("box-1,S1\n", Existing::Replace).expect("stamped").remove(0);
    OpenOptions::new().write(true).open(image(&one)).and_then(|file| file.set_len(length + 4096)).expect("grown");
    assert_eq!(bench.verify(&one).expect("proved").unread_bytes, 4096);
}

#[test]
fn a_disk_that_booted_is_told_from_one_that_was_changed() {
    let bench = Bench::new();
    let one = bench.one();
    let manifest = std::fs::read(&one.manifest).expect("read");
    let told = |base: Option<&Path>| verify(image(&one), &manifest, Some(&public(9)), base).expect_err("refused").to_string();
    if !move_tables(image(&one)) {
        return;
    }
    assert!(told(None).contains("its partition tables were moved; name the base"), "{}", told(None));
    let only = "the partition tables differ from its base's, and nothing else outside SEED does; it has booted";
    assert!(told(Some(&bench.base)).contains(only), "{}", told(Some(&bench.base)));
    damage(image(&one), seed_of(&bench.base).end as u64 + 5000);
    let places = "differs from its base outside SEED, in the partition tables, RUNTIME-A;";
    assert!(told(Some(&bench.base)).contains(places), "{}", told(Some(&bench.base)));
}

#[test]
fn what_is_shorter_than_its_image_is_refused_as_short() {
    let bench = Bench::new();
    let one = bench.one();
    let length = std::fs::metadata(image(&one)).expect("there").len();
    for bytes in [length - 1, length / 2] {
        OpenOptions::new().write(true).open(image(&one)).and_then(|file| file.set_len(bytes)).expect("cut");
        assert!(bench.refused(&one).contains(&format!("it has {bytes} bytes, its manifest says {length}")));
    }
}

#[test]
fn a_manifest_of_another_device_station_or_base_proves_nothing() {
    let bench = Bench::new();
    let mut stamped = bench.run("box-1,S1\nbox-2,S2\n", Existing::Keep).expect("stamped");
    let manifest = std::fs::read(&stamped[0].manifest).expect("read");
    let path = image(&stamped[0]).to_owned();
    let other = verify(&path, &manifest, Some(&public(8)), None).expect_err("refused");
    assert!(matches!(other, VerifyError::Manifest(ManifestError::OtherStation { .. })), "{other}");
    let changed = String::from_utf8(manifest.clone()).expect("text").replace("\"S1\"", "\"S2\"");
    let changed = verify(&path, changed.as_bytes(), None, None).expect_err("refused");
    assert!(matches!(changed, VerifyError::Manifest(ManifestError::Signature { .. })), "{changed}");
    let base = verify(&path, &manifest, None, Some(image(&stamped[1]))).expect_err("refused").to_string();
    assert!(base.contains("another base than"), "{base}");
    assert!(!verify(&path, &manifest, None, None).expect("proved").station_known);
    stamped.swap(0, 1);
    (stamped[0].image, stamped[1].image) = (stamped[1].image.clone(), stamped[0].image.clone());
    assert!(bench.refused(&stamped[0]).contains("its SEED is not the one stamped for box-2"));
}

#[test]
fn a_manifest_with_the_hash_of_another_token_contradicts_its_image() {
    let bench = Bench::new();
    let one = bench.one();
    let mut manifest = Manifest::read(&std::fs::read(&one.manifest).expect("read"), Some(&public(9))).expect("holds");
    let proved = |manifest: &Manifest| {
        let text = manifest.clone().sign(&key(9));
        verify(image(&one), text.as_bytes(), Some(&public(9)), None).map(drop).map_err(|error| error.to_string())
    };
    manifest.seed.join_token_sha256 = None;
    assert_eq!(proved(&manifest), Ok(()), "as an earlier version wrote it");
    manifest.seed.join_token_sha256 = Some(Digest::of(b"another"));
    assert!(proved(&manifest).expect_err("refused").contains("about the join token"));
}
