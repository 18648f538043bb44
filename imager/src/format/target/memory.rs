//! What making a form holds in memory at once: the parts it works on, never the image. Each form is made in a process of its own, which looks at the most it
//! ever held; the image is larger than that, what is noise in it and what is a hole in it each by itself.

use std::process::Command;

use super::*;
use crate::build::tests::build_large;
use crate::unfold;

const MIB: u64 = 1 << 20;
/// Noise in the image's runtime. A third of a partition is what it holds, so the holes are twice as much.
const NOISE: u64 = 192 * MIB;
/// The most that may be held; what is compressed side by side is most of it.
const MOST: u64 = 160 * MIB;
/// Names the image, and the form that [`child_convert`] makes of it.
const IMAGE: &str = "SKERRY_TEST_CONVERT_IMAGE";
const FORMAT: &str = "SKERRY_TEST_CONVERT_FORMAT";

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
#[ignore = "a process of the test below"]
fn child_convert() {
    let image = PathBuf::from(std::env::var_os(IMAGE).expect("run by the test below"));
    let name = std::env::var(FORMAT).expect("run by the test below");
    let format = Format::ALL.into_iter().find(|format| format.as_str() == name).expect("a form");
    let (_, source) = unfold::source(&image).expect("opened");
    Target::all(&[format], &image.with_extension(extension(format))).expect("a place")[0].write(&source).expect("written");
    assert!(peak() < MOST, "{format} took {} MiB", peak() / MIB);
}

#[test]
fn no_form_holds_the_image_in_memory() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = build_large(folder.path(), NOISE as usize);
    let holes = std::fs::metadata(&image).expect("there").len() - NOISE;
    assert!(holes > MOST, "{holes}");
    for format in Format::ALL {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "format::target::memory::child_convert", "--ignored"]);
        let output = command.env(IMAGE, &image).env(FORMAT, format.as_str()).output().expect("started");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && words.contains("1 passed"), "{format}: {words}");
        let made = image.with_extension(extension(format));
        assert!(std::fs::metadata(&made).expect("there").len() > MOST, "{format} is smaller than what may be held");
        std::fs::remove_file(&made).expect("removed");
    }
}
