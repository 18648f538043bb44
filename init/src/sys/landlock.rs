//! Landlock (Documentation/userspace-api/landlock.rst): a process that gives up the file system for good.
//!
//! The kernel's structures have one size for all its versions; fields it does not know must be zero, so only what it offers is asked for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: libc::c_uint = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: libc::c_uint = 1;
/// `LANDLOCK_ACCESS_FS_READ_FILE`.
const READ: u64 = 1 << 2;
/// `LANDLOCK_ACCESS_FS_EXECUTE`, and reading what is executed.
const RUN: u64 = 1 | READ;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`.
const TO_OTHERS: u64 = 1 | 1 << 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    path: RawFd,
}

/// What a process may do that runs this program and reads the files in these folders, as far as their permissions go: nothing else of
/// the file system, not even their names, and no signal to others. None: this kernel cannot restrict.
///
/// Sockets that have a path stay in reach, as far as their permissions go. A file that is replaced in its folder stays in reach too.
pub(crate) fn only_program(program: &Path, folders: &[&str]) -> io::Result<Option<OwnedFd>> {
    let Some(attributes) = attributes(version()) else { return Ok(None) };
    // SAFETY: the pointer is to a live structure of the size given, which the kernel only reads.
    let ruleset =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size_of::<RulesetAttributes>(), 0) };
    let ruleset = RawFd::try_from(ruleset).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just opened it for this process, and nobody else knows its number.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    allow(&ruleset, program, RUN)?;
    folders.iter().try_for_each(|folder| allow(&ruleset, Path::new(folder), READ))?;
    Ok(Some(ruleset))
}

/// Adds what is allowed of a file, or of all files in a folder and below it.
fn allow(ruleset: &OwnedFd, path: &Path, allowed: u64) -> io::Result<()> {
    let file = File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
    let rule = PathBeneath { allowed, path: file.as_raw_fd() };
    // SAFETY: both descriptors are open; the pointer is to a live structure that the kernel only reads.
    let added = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) };
    if added < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Holds the calling thread, and what it becomes, to the rules. It must not be able to gain privileges any more.
pub(crate) fn restrict_self(ruleset: impl AsFd) -> io::Result<()> {
    // SAFETY: the call takes two integers; it changes what later calls may do and no memory.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The version of the kernel's Landlock; 0: it has none.
fn version() -> u32 {
    let nothing = std::ptr::null::<RulesetAttributes>();
    // SAFETY: with this flag the kernel reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    u32::try_from(version).unwrap_or_default()
}

/// Everything that this version can forbid of files, and of other processes.
fn attributes(version: u32) -> Option<RulesetAttributes> {
    let rights = match version {
        0 => return None,
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        5.. => 16,
    };
    Some(RulesetAttributes { files: (1 << rights) - 1, network: 0, scoped: if version < 6 { 0 } else { TO_OTHERS } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_knows_is_asked_for() {
        let asked = |version| attributes(version).map(|attributes| (attributes.files, attributes.scoped));
        assert_eq!(asked(0), None);
        assert_eq!(asked(1), Some((0x1fff, 0)));
        assert_eq!(asked(3), Some((0x7fff, 0)));
        assert_eq!(asked(7), Some((0xffff, 3)));
    }

    #[test]
    fn a_restricted_thread_opens_no_file_and_still_connects() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("the folder is ours");
        let Some(rules) = only_program(Path::new("/proc/self/exe"), &[]).expect("it is there") else {
            return crate::testing::skip("this kernel has no Landlock");
        };
        let inside = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("always allowed");
            restrict_self(rules).expect("a fresh ruleset");
            let read = std::fs::read("/etc/hostname").map_err(|error| error.kind());
            let listed = std::fs::read_dir("/").map(drop).map_err(|error| error.kind());
            (read, listed, std::os::unix::net::UnixStream::connect(path).is_ok())
        });
        let (read, listed, connected) = inside.join().expect("no panic");
        assert_eq!((read, listed), (Err(io::ErrorKind::PermissionDenied), Err(io::ErrorKind::PermissionDenied)));
        assert!(connected);
        std::fs::read_dir("/").expect("other threads are free");
    }

    #[test]
    fn files_of_an_open_folder_are_read_also_when_they_are_replaced_and_nothing_more() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let names = folder.path().join("resolv.conf");
        std::fs::write(&names, "before").expect("the folder is ours");
        let open = folder.path().to_str().expect("UTF-8");
        let Some(rules) = only_program(Path::new("/proc/self/exe"), &[open]).expect("it is there") else {
            return crate::testing::skip("this kernel has no Landlock");
        };
        std::fs::write(folder.path().join("new"), "after").expect("the folder is ours");
        std::fs::rename(folder.path().join("new"), &names).expect("the folder is ours");
        let (path, inside) = (names.clone(), folder.path().to_owned());
        let inside = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("always allowed");
            restrict_self(rules).expect("a fresh ruleset");
            let other = std::fs::read("/etc/hostname").map_err(|error| error.kind());
            let listed = std::fs::read_dir(&inside).map(drop).map_err(|error| error.kind());
            let written = std::fs::write(&path, "mine").map_err(|error| error.kind());
            (std::fs::read_to_string(&path).map_err(|error| error.kind()), other.map(drop), listed, written)
        });
        let denied = Err(io::ErrorKind::PermissionDenied);
        assert_eq!(inside.join().expect("no panic"), (Ok("after".to_owned()), denied, denied, denied));
    }
}
