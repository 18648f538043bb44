//! `make run`: boots an image in the emulator with its console on this terminal. Ctrl-A X ends it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use imager::board::Architecture;
use skerry_tests::esp::Esp;
use skerry_tests::harness::disk::DISK_BYTES;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::machine::run_on_terminal;
use skerry_tests::harness::{Disk, Guest, qmp};
use skerry_tests::lab::Lab;
use skerry_tests::uki::Uki;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(image), None) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        bail!("give one argument: the disk image to boot, as `make image` writes it");
    };
    let guest = guest(&image)?;
    let lab = Lab::for_image(&image)?;
    let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
    let disk = Disk::from_image(&image, &logs.path("disk.img"), DISK_BYTES).context("cannot copy the image to a disk")?;
    let status = run_on_terminal(&guest, &lab.rig_for(&guest, &logs)?, &disk, |usernet| {
        match qmp::host_port(usernet, api::DEFAULT_PORT) {
            Some(port) => {
                eprintln!("\r\nThe API is forwarded to 127.0.0.1:{port}. Ctrl-A X ends the machine; its disk is forgotten.\r\n")
            }
            None => eprintln!("\r\nThe API is not forwarded. Ctrl-A X ends the machine.\r\n"),
        }
    })?;
    if status.success() { Ok(()) } else { bail!("the emulator ended with {status}") }
}

/// The machine for an image; refuses what would end in the firmware's own menu.
fn guest(image: &Path) -> Result<Guest> {
    if Esp::read(image)?.paths().any(|path| path == "config.txt") {
        bail!(
            "{} is for a Raspberry Pi, whose firmware no emulator runs; `cargo test -p skerry-tests --test vm_boards` starts its card as far as that goes",
            image.display()
        );
    }
    let uki = Uki::read(image)?;
    if !uki.command_line()?.contains("console=ttyS0") && uki.architecture()? == Architecture::X86_64 {
        eprintln!("This board's console is its screen, of which nothing is seen here: the API tells how it is.");
    }
    let guest = match uki.architecture()? {
        Architecture::X86_64 => Guest::new("run"),
        Architecture::Aarch64 => Guest::arm64("run"),
    };
    Ok(Guest { memory_mib: 2048, ..guest })
}
