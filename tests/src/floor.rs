//! The floor: a static C PID 1 in the same machine with the same kernel. What Skerry costs is measured over it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::{fs, str};

use cpio::NewcBuilder;
use imager::board::Architecture;

use crate::cprogram::{self, CompileError};
use crate::harness::boot::{BootError, Rig};
use crate::harness::machine::MachineError;
use crate::harness::{DirectKernel, Disk, Guest, Patience, boot};
use crate::places;

/// What the floor's PID 1 said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Boot-time clock when it began, in microseconds.
    pub boottime_usec: u64,
    /// All memory the kernel manages, in bytes.
    pub memory_total_bytes: u64,
    /// Memory available to more programs, in bytes.
    pub memory_available_bytes: u64,
}

/// Why the floor could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// Its program could not be made.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its initramfs could not be written.
    #[error("cannot write the floor's initramfs: {0}")]
    Write(#[from] io::Error),
    /// Its machine did not come up.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Its machine did not end.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// It said too little.
    #[error("the floor did not say {missing}")]
    Silent {
        /// The key that is missing.
        missing: &'static str,
    },
}

/// Compiles the floor's PID 1 and packs it as an initramfs at `out`.
pub fn make_initramfs(out: &Path) -> Result<(), FloorError> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("init");
    cprogram::compile(&places::source("floor/init.c"), Architecture::X86_64, &program)?;
    fs::write(out, initramfs(&fs::read(program)?)?)?;
    Ok(())
}

fn initramfs(program: &[u8]) -> io::Result<Vec<u8>> {
    let size = u32::try_from(program.len()).map_err(io::Error::other)?;
    let mut entry = NewcBuilder::new("init").ino(1).nlink(1).mode(0o100_755).write(Vec::new(), size);
    entry.write_all(program)?;
    cpio::newc::trailer(entry.finish()?)
}

/// Boots the floor once, with the disk attached as a node has it, and returns what it said.
pub fn measure(guest: &Guest, direct: DirectKernel, rig: &Rig<'_>, disk: &Disk, run: &mut u32) -> Result<Floor, FloorError> {
    let guest = Guest { kernel: Some(direct), ..guest.clone() };
    let mut booted = boot(&guest, rig, Some(disk), run, &Patience::new("the floor's last line", 10), is_end)?;
    let lines = booted.machine.console().lines();
    booted.machine.wait_exit(&Patience::new("the floor's power-off", 3))?;
    parse(&lines)
}

/// Whether this is the floor's last line.
pub fn is_end(line: &str) -> bool {
    line.contains("floor: end")
}

fn parse(lines: &[String]) -> Result<Floor, FloorError> {
    let said: BTreeMap<&str, u64> = lines.iter().filter_map(|line| key_and_value(line)).collect();
    let get = |missing| said.get(missing).copied().ok_or(FloorError::Silent { missing });
    Ok(Floor {
        boottime_usec: get("boottime_usec")?,
        memory_total_bytes: get("mem_total_kib")? * 1024,
        memory_available_bytes: get("mem_available_kib")? * 1024,
    })
}

fn key_and_value(line: &str) -> Option<(&str, u64)> {
    let (key, value) = line.split_once("floor: ")?.1.split_once('=')?;
    Some((key, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_floor_says_is_read_in_bytes_and_its_silence_is_named() {
        let said = ["[ 1.0] noise", "floor: boottime_usec=1312000", "floor: mem_total_kib=2", "floor: mem_available_kib=1"];
        let lines: Vec<String> = said.map(Into::into).into();
        let floor = parse(&lines).unwrap();
        assert_eq!(floor, Floor { boottime_usec: 1_312_000, memory_total_bytes: 2048, memory_available_bytes: 1024 });
        let error = parse(&lines[..3]).unwrap_err();
        assert_eq!(error.to_string(), "the floor did not say mem_available_kib");
    }

    #[test]
    fn the_initramfs_holds_one_executable_called_init() {
        let bytes = initramfs(b"program").unwrap();
        let reader = cpio::NewcReader::new(bytes.as_slice()).unwrap();
        assert_eq!((reader.entry().name(), reader.entry().mode() & 0o777), ("init", 0o755));
    }
}
