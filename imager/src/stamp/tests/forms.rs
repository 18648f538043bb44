//! Bases that run from RAM are stamped like disks: only SEED differs, and what was damaged is not stamped.

use std::path::{Path, PathBuf};

use machine_config::seed;

use super::{BOARD, Bench, Existing, damage, image, seed_of};
use crate::board::Format;
use crate::format::{source::Source, target::Target};
use crate::inspect::{self, Depth};
use crate::stamp::base::Base;

/// The bench's base in a form, in the bench's folder.
fn in_form(bench: &Bench, format: Format) -> PathBuf {
    let inspection = inspect::inspect(&bench.base, Depth::Overview).expect("inspected");
    let source = Source::open(&bench.base, &inspection).expect("opened");
    let path = bench.folder.path().join(format!("base.{}", crate::format::target::extension(format)));
    Target::all(&[format], &path).expect("a place")[0].write(&source).expect("written");
    path
}

fn bench_of(format: Format) -> Bench {
    let mut bench = Bench::new();
    bench.base = in_form(&bench, format);
    bench
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end)
}

#[test]
fn what_runs_from_ram_is_stamped_in_seed_alone() {
    for (format, end) in [(Format::Uki, "efi"), (Format::Iso, "iso")] {
        let bench = bench_of(format);
        let before = std::fs::read(&bench.base).expect("read");
        let stamped = bench.run("box-1,S1\nbox-2,S2\n", Existing::Keep).expect("stamped");
        let seed = seed_of(&bench.base);
        for one in &stamped {
            let bytes = std::fs::read(image(one)).expect("read");
            assert!(ends_with(image(one), end), "{:?}", one.image);
            assert!(bytes[..seed.start] == before[..seed.start] && bytes[seed.end..] == before[seed.end..]);
            let content = seed::decode(&bytes[seed.clone()]).expect("decoded").seed;
            assert_eq!(content.device_name.map(String::from), Some(one.name.clone()));
            let proof = bench.verify(one).expect("proved");
            assert_eq!((proof.manifest.base.board.as_str(), proof.base_compared), (BOARD, true));
        }
        damage(image(&stamped[0]), 2000);
        assert!(bench.refused(&stamped[0]).contains("differs from its base outside SEED"));
        assert!(std::fs::read(&bench.base).expect("read") == before, "the base was changed");
    }
}

#[test]
fn a_damaged_base_that_runs_from_ram_is_not_stamped() {
    for format in [Format::Uki, Format::Iso] {
        let bench = bench_of(format);
        damage(&bench.base, seed_of(&bench.base).start as u64 - 5000);
        let error = anyhow::Error::from(Base::open(&bench.base).expect_err("refused"));
        assert!(format!("{error:#}").contains("are not those that its index names"), "{error:#}");
    }
}

#[test]
fn a_form_without_a_seed_says_which_have_one() {
    for format in [Format::Qcow2, Format::RawZst, Format::RawGz, Format::Pxe] {
        let bench = bench_of(format);
        let error = anyhow::Error::from(Base::open(&bench.base).expect_err("refused"));
        let expected = "neither a raw image nor an ISO, UKI or initramfs in the RAM form; stamp the raw image";
        assert!(format!("{error:#}").contains(expected), "{format}: {error:#}");
    }
}
