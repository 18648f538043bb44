//! A built image reads back; every kind of damage has its own message.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;
use crate::build::tests::build_sample;

struct Sample {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn sample(seed: Option<Vec<u8>>) -> Sample {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = build_sample(folder.path(), seed);
    Sample { _folder: folder, path }
}

impl Sample {
    fn damage(&self, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(&self.path).expect("opened");
        file.write_all_at(bytes, offset).expect("written");
    }

    fn offset(&self, partition: Partition) -> u64 {
        Disk::open(&self.path).expect("opened").partition(partition).expect("there").offset
    }

    fn error(&self) -> String {
        let error = inspect(&self.path, Depth::EveryFile).expect_err("refused").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }
}

#[test]
fn a_built_image_reads_back_and_passes_every_check() {
    let sample = sample(None);
    let inspection = inspect(&sample.path, Depth::EveryFile).expect("inspected");
    assert_eq!((inspection.release.version.as_str(), inspection.kernel.as_str()), ("0.1.0", "6.12.0"));
    assert!(inspection.files_checked.is_some_and(|count| count > 20));
    assert_eq!(inspection.seed, SeedState::Blank);
    let names: Vec<_> = inspection.partitions.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["ESP", "SEED", "RUNTIME-A"]);
    let text = inspection.to_string();
    for expected in
        ["skerry       0.1.0 for test (x86_64)", "EFI/Linux/skerry-a.efi", ".cmdline", "skerry.runtime=", "blank: not stamped"]
    {
        assert!(text.contains(expected), "{text} lacks {expected}");
    }
}

#[test]
fn a_file_that_is_no_image_says_so() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("file");
    for bytes in [&b""[..], b"short", &[0; 4096]] {
        std::fs::write(&path, bytes).expect("written");
        let error = inspect(&path, Depth::Overview).expect_err("refused").to_string();
        assert!(error.ends_with("it is not a disk image (no partition table found)"), "{error}");
    }
    let error = inspect(folder.path(), Depth::Overview).expect_err("refused").to_string();
    assert!(error.ends_with("it is neither a file nor a disk"), "{error}");
    let error = inspect(&folder.path().join("none"), Depth::Overview).expect_err("refused").to_string();
    assert!(error.starts_with("cannot open "), "{error}");
}

#[test]
fn a_table_that_claims_to_be_huge_is_not_read() {
    let sample = sample(None);
    let mut header = std::fs::read(&sample.path).expect("read")[512..512 + 92].to_vec();
    header[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    sample.damage(512, &header);
    assert!(sample.error().contains("the first partition table is damaged (it is not of the usual size)"), "{}", sample.error());
}

/// CRC-32 as GPT has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn a_cut_image_names_both_lengths() {
    let sample = sample(None);
    let length = std::fs::metadata(&sample.path).expect("there").len();
    OpenOptions::new().write(true).open(&sample.path).and_then(|file| file.set_len(length - 4096)).expect("cut");
    assert!(sample.error().contains(&format!("it is cut short, {} of {length} bytes", length - 4096)));
}

#[test]
fn damage_is_found_where_it_is() {
    type Place = fn(&Sample) -> u64;
    let cases: [(&str, Place, &str); 6] = [
        ("first table", |_| 512 + 20, "the first partition table is damaged"),
        ("entry", |_| 1024 + 40, "the first partition table is damaged"),
        ("ESP", |sample| sample.offset(Partition::Esp), "cannot read the ESP"),
        ("runtime data", |sample| sample.offset(Partition::RuntimeA) + 5000, "does not have the root hash"),
        ("hash tree", |sample| sample.offset(Partition::RuntimeA) + runtime_bytes(sample) + 4096 + 9, "its hash tree is damaged"),
        (
            "backup table",
            |sample| std::fs::metadata(&sample.path).expect("there").len() - 512 + 20,
            "the backup partition table is damaged",
        ),
    ];
    for (name, place, expected) in cases {
        let sample = sample(None);
        sample.damage(place(&sample), &[0xa5; 16]);
        assert!(sample.error().contains(expected), "{name}: {}", sample.error());
    }
}

fn runtime_bytes(sample: &Sample) -> u64 {
    inspect(&sample.path, Depth::Overview).expect("inspected").runtime.bytes
}

#[test]
fn seed_is_shown_without_its_secrets_and_damage_in_it_is_told() {
    let trust = machine_config::FleetTrust::from_json(FLEET.as_bytes()).expect("a fleet");
    let seed = seed::Seed {
        fleet: trust,
        hub: None,
        join_token: Some("very-secret-token".to_owned().into()),
        device_name: None,
        config: None,
        identity: None,
    };
    let sample = sample(Some(seed::encode(&seed).expect("encoded")));
    let shown = inspect(&sample.path, Depth::Overview).expect("inspected").to_string();
    assert!(shown.contains("\"acme\"") && !shown.contains("very-secret"), "{shown}");
    let offset = sample.offset(Partition::Seed);
    sample.damage(offset, &[0; 8]);
    let shown = inspect(&sample.path, Depth::Overview).expect("inspected").to_string();
    assert!(shown.contains("warning: the first copy does not count"), "{shown}");
    sample.damage(offset + seed::COPY_BYTES as u64, &[0; 8]);
    let inspection = inspect(&sample.path, Depth::Overview).expect("inspected");
    assert!(matches!(inspection.seed, SeedState::Damaged(_)));
}

const FLEET: &str = r#"{"name": "acme", "keys": ["8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"]}"#;
