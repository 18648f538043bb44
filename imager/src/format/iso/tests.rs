//! Other people's readers find on the disc what was put there, and the same disc comes out again.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::oracle;

fn label() -> Label {
    Label { version: "0.1.0".into(), board: "test-board".into(), time: 1_700_000_000 }
}

fn made(program_bytes: usize) -> Vec<u8> {
    let mut content = Pieces::new();
    content.add((0..program_bytes as u32).map(|n| (n / 5) as u8).collect::<Vec<_>>());
    let pieces = plan(Program { name: "BOOTX64.EFI", content }, &label(), Digest::of(b"content")).expect("planned");
    let mut bytes = Vec::new();
    pieces.reader(&tempfile::tempfile().expect("temp file")).read_to_end(&mut bytes).expect("read");
    bytes
}

fn said(program: &str, before: &str, iso: &Path, after: &[&str]) -> Option<String> {
    let output = oracle::ask(Command::new(program).arg(before).arg(iso).args(after))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {text}");
    Some(text)
}

#[test]
fn xorriso_and_sgdisk_find_what_firmware_looks_for() {
    let file = tempfile::NamedTempFile::new().expect("temp file");
    for bytes in [100_000, 50_000_000] {
        std::fs::write(file.path(), made(bytes)).expect("written");
        let reports = ["-report_el_torito", "plain", "-report_system_area", "plain", "-pvd_info", "-find", "/", "--"];
        let Some(text) = said("xorriso", "-indev", file.path(), &reports) else { return };
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "El Torito boot img : 1 UEFI y none 0x0000 0x00 1 512",
            "El Torito img path : 1 /EFI.IMG",
            "Volume Id : SKERRY_TEST_BOARD",
            "App Id : SKERRY 0.1.0 TEST-BOARD",
            "System area summary: MBR protective-msdos-label cyl-align-off GPT",
            "'/README.TXT'",
        ] {
            assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {text}");
        }
        let text = said("/usr/sbin/sgdisk", "-v", file.path(), &[]).expect("installed");
        assert!(text.contains("No problems found"), "{text}");
    }
}

#[test]
fn the_disc_depends_on_what_it_carries_alone() {
    let (one, same) = (made(4000), made(4000));
    assert!(one == same);
    assert_eq!(one.len() % 4096, 0);
}
