//! `make run`: boots an image in the emulator with its console on this terminal. Ctrl-A X ends it.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
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
    Uki::read(&image)?; // what holds none is no image of ours, and would end in the firmware's own menu
    let lab = Lab::for_image(&image)?;
    let guest = Guest { memory_mib: 2048, ..Guest::new("run") };
    let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
    let disk = Disk::from_image(&image, &logs.path("disk.img"), DISK_BYTES).context("cannot copy the image to a disk")?;
    let status = run_on_terminal(&guest, &lab.rig(&logs), &disk, |usernet| match qmp::host_port(usernet, api::DEFAULT_PORT) {
        Some(port) => {
            eprintln!("\r\nThe API is forwarded to 127.0.0.1:{port}. Ctrl-A X ends the machine; its disk is forgotten.\r\n")
        }
        None => eprintln!("\r\nThe API is not forwarded. Ctrl-A X ends the machine.\r\n"),
    })?;
    if status.success() { Ok(()) } else { bail!("the emulator ended with {status}") }
}
