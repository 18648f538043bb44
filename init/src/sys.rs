//! The only unsafe code of this crate: ioctls and process set-up that rustix has no safe form for.
//!
//! Each function checks its arguments in its type and nothing else; deciding is done by the callers.

#![allow(unsafe_code, reason = "this is the crate's one sys.rs; each block says why it is sound")]

mod block;
mod landlock;
mod packet;

#[cfg(test)]
pub(crate) use block::detach_loop;
pub(crate) use block::{LoopSetup, device_bytes, discard, drop_cache, free_loop_device, sector_bytes, set_up_loop, zero_out};
pub(crate) use landlock::{only_program, restrict_self};
pub(crate) use packet::{attach_filter, bind_packet_socket, send_to_link};

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::services::ChildSetup;

use rustix::process::Signal;
use tokio::io::unix::AsyncFd;

/// `BLKPG`, linux/blkpg.h.
const BLKPG: libc::Ioctl = 0x1269;
/// `EXT4_IOC_RESIZE_FS`, `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: libc::Ioctl = 0x4008_6610;

/// What `BLKPG` does to one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartitionOp {
    /// Makes it known to the kernel.
    Add = 1,
    /// Tells the kernel its new length.
    Resize = 3,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    op: c_int,
    flags: c_int,
    length: c_int,
    data: *mut BlkpgPartition,
}

fn checked(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells the kernel of a partition; `start` and `length` are bytes.
pub(crate) fn partition(disk: impl AsFd, op: PartitionOp, number: u32, start: u64, length: u64) -> io::Result<()> {
    let range = |value: u64| i64::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let mut data = BlkpgPartition {
        start: range(start)?,
        length: range(length)?,
        number: c_int::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = BlkpgArgument {
        op: op as c_int,
        flags: 0,
        length: c_int::try_from(size_of::<BlkpgPartition>()).expect("152 bytes"),
        data: &raw mut data,
    };
    // SAFETY: the descriptor is open for the call; `argument` and the `data` it points to have the kernel's layout and
    // outlive the call, which keeps no pointer.
    checked(unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), BLKPG, &raw const argument) })
}

/// Grows a mounted ext4 to `blocks` of its own block size.
pub(crate) fn resize_ext4(mount_point: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64 from the address, which is a live local.
    checked(unsafe { libc::ioctl(mount_point.as_fd().as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw const blocks) })
}

/// Sends one device-mapper ioctl; `buffer` starts with a `struct dm_ioctl` and is read and written in place.
pub(crate) fn device_mapper(control: impl AsFd, request: libc::Ioctl, buffer: &mut [u8]) -> io::Result<()> {
    assert!(buffer.len() >= 312, "the buffer holds a struct dm_ioctl");
    let declared = u32::from_ne_bytes(buffer[12..16].try_into().expect("four bytes"));
    assert!(declared as usize <= buffer.len(), "the kernel writes no further than data_size");
    // SAFETY: the kernel reads and writes at most `data_size` bytes at the address, and the asserts above keep that inside
    // the exclusively borrowed buffer.
    checked(unsafe { libc::ioctl(control.as_fd().as_raw_fd(), request, buffer.as_mut_ptr()) })
}

/// Makes the child carry `setup` out after fork, before exec, and pass it no open file but its standard streams.
pub(crate) fn set_up_child(command: &mut Command, setup: ChildSetup) {
    let before_exec = move || {
        close_on_exec_from(3)?;
        setup.enter()
    };
    // SAFETY: the closure runs in the forked child of a process that may have other threads, so it must be async-signal-safe:
    // `ChildSetup::enter` promises to make system calls only, and so does `close_on_exec_from`.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Closes every descriptor from `first` on when the process executes another program.
fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: close_range takes three integers; with CLOEXEC it closes nothing now, so no descriptor in use goes away.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the kernel collect ended children by itself.
pub(crate) fn ignore_child_exits() {
    // SAFETY: SIG_IGN is not a handler, so no code runs in a signal's context.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
}

/// Signals every process but this one and the kernel's own; atomic, so that none slips away by forking.
pub(crate) fn signal_everybody(signal: Signal) -> io::Result<()> {
    // SAFETY: kill takes two integers; -1 names no process in particular.
    checked(unsafe { libc::kill(-1, signal.as_raw()) })
}

/// One heap for all threads: each further one would keep memory of its own. Before any thread starts.
pub(crate) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes no pointer; no other thread runs yet, which is all it asks for.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives freed memory back to the kernel: after work that needed much more than the steady state.
pub(crate) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Registers a descriptor with the runtime.
pub(crate) fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor for as long as the AsyncFd owns it.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
