//! Ioctls of block devices and of the loop driver.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::checked;

/// `BLKFLSBUF`, linux/fs.h.
const BLKFLSBUF: libc::Ioctl = 0x1261;
/// `BLKSSZGET`, linux/fs.h.
const BLKSSZGET: libc::Ioctl = 0x1268;
/// `BLKDISCARD`, linux/fs.h.
const BLKDISCARD: libc::Ioctl = 0x1277;
/// `BLKZEROOUT`, linux/fs.h.
const BLKZEROOUT: libc::Ioctl = 0x127f;
/// `BLKGETSIZE64`, linux/fs.h: `_IOR(0x12, 114, size_t)`.
const BLKGETSIZE64: libc::Ioctl = 0x8008_1272_u32 as libc::Ioctl;
/// `LOOP_CONFIGURE`, linux/loop.h.
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
/// `LOOP_CTL_GET_FREE`, linux/loop.h.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// `LO_FLAGS_READ_ONLY`, linux/loop.h.
const READ_ONLY: u32 = 1;

/// Bytes in a block device.
pub(crate) fn device_bytes(device: impl AsFd) -> io::Result<u64> {
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64 to the address, which is a live local.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKGETSIZE64, &raw mut bytes) })?;
    Ok(bytes)
}

/// Bytes in a logical sector of a block device.
pub(crate) fn sector_bytes(device: impl AsFd) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: BLKSSZGET writes one int to the address, which is a live local.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKSSZGET, &raw mut bytes) })?;
    u64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Tells the device that a range holds nothing of worth.
pub(crate) fn discard(device: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let range = [offset, length];
    // SAFETY: BLKDISCARD reads two u64 from the address, which is a live local array.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKDISCARD, range.as_ptr()) })
}

/// Makes a range of a block device zero, whole sectors only; the kernel writes zeros where the device has no better way.
pub(crate) fn zero_out(device: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let range = [offset, length];
    // SAFETY: BLKZEROOUT reads two u64 from the address, which is a live local array.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKZEROOUT, range.as_ptr()) })
}

/// Writes what the kernel holds back for a block device and forgets its copy, so that the next read asks the device.
pub(crate) fn drop_cache(device: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), BLKFLSBUF, 0) })
}

/// Which part of a file a loop device shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopSetup {
    /// First byte.
    pub(crate) offset: u64,
    /// Length.
    pub(crate) bytes: u64,
}

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// The number of a loop device that nobody uses; made when there is none.
pub(crate) fn free_loop_device(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument.
    let number = unsafe { libc::ioctl(control.as_fd().as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

/// Makes a loop device show a part of a file, read-only.
pub(crate) fn set_up_loop(device: impl AsFd, file: BorrowedFd<'_>, setup: LoopSetup) -> io::Result<()> {
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: setup.offset,
        size_limit: setup.bytes,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: READ_ONLY,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let config = LoopConfig { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one struct loop_config from the address, which is a live local of the kernel's layout (a test counts its
    // bytes); the kernel takes its own reference to the file.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_CONFIGURE, &raw const config) })
}

/// Takes the file away from a loop device.
#[cfg(test)]
pub(crate) fn detach_loop(device: impl AsFd) -> io::Result<()> {
    /// `LOOP_CLR_FD`, linux/loop.h.
    const LOOP_CLR_FD: libc::Ioctl = 0x4c01;
    // SAFETY: LOOP_CLR_FD takes no argument.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_CLR_FD, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_size() {
        assert_eq!((size_of::<LoopInfo>(), size_of::<LoopConfig>()), (232, 304));
    }
}
