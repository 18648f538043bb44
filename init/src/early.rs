//! What every boot needs before anything else: the root made a real mount, the kernel's file systems, fixed files in /etc.
//!
//! It reads no configuration and waits for nothing.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move};

use crate::node::Release;

/// Why an early step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EarlyError {
    /// A mount failed.
    #[error("cannot mount {fs_type} on {target}: does the kernel have it?")]
    Mount {
        /// File system type.
        fs_type: &'static str,
        /// Where.
        target: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The root could not be made a mount of its own.
    #[error("cannot bind the root over itself ({step})")]
    Root {
        /// Which call.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file or folder could not be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether a boot goes on without a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Must,
    /// Used when the kernel has it.
    IfThere,
}

struct Mount {
    fs_type: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: Option<&'static std::ffi::CStr>,
    need: Need,
}

const NOTHING_SPECIAL: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

const fn must(fs_type: &'static str, target: &'static str, flags: MountFlags, data: Option<&'static std::ffi::CStr>) -> Mount {
    Mount { fs_type, target, flags, data, need: Need::Must }
}

const fn if_there(fs_type: &'static str, target: &'static str, flags: MountFlags) -> Mount {
    Mount { fs_type, target, flags, data: None, need: Need::IfThere }
}

/// Every file system mounted before the devices are looked at, in order.
const MOUNTS: &[Mount] = &[
    must("proc", "/proc", NOTHING_SPECIAL, None),
    must("sysfs", "/sys", NOTHING_SPECIAL, None),
    must("devtmpfs", "/dev", MountFlags::NOSUID.union(MountFlags::NOEXEC), Some(c"mode=0755")),
    must("devpts", "/dev/pts", MountFlags::NOSUID.union(MountFlags::NOEXEC), Some(c"mode=0620,ptmxmode=0666,gid=5")),
    must("tmpfs", "/dev/shm", NOTHING_SPECIAL, Some(c"mode=1777")),
    if_there("mqueue", "/dev/mqueue", NOTHING_SPECIAL),
    must("tmpfs", "/run", MountFlags::NOSUID.union(MountFlags::NODEV), Some(c"mode=0755")),
    must("tmpfs", "/tmp", MountFlags::NOSUID.union(MountFlags::NODEV), Some(c"mode=1777")),
    must("cgroup2", "/sys/fs/cgroup", NOTHING_SPECIAL, Some(c"nsdelegate,memory_recursiveprot")),
    if_there("bpf", "/sys/fs/bpf", NOTHING_SPECIAL),
    if_there("securityfs", "/sys/kernel/security", NOTHING_SPECIAL),
    // Nothing here is kept in firmware variables, and whoever writes the wrong ones bricks the machine.
    FIRMWARE_VARIABLES,
];

const FIRMWARE_VARIABLES: Mount = if_there("efivarfs", "/sys/firmware/efi/efivars", NOTHING_SPECIAL.union(MountFlags::RDONLY));

/// Mounts the firmware's variables again, for a kernel whose module for them is loaded only now.
pub fn mount_firmware_variables() -> Result<(), EarlyError> {
    let mounted = fs::read_dir(FIRMWARE_VARIABLES.target).is_ok_and(|mut entries| entries.next().is_some());
    if mounted { Ok(()) } else { mount_one(&FIRMWARE_VARIABLES) }
}

/// Makes the root a mount that `pivot_root` accepts, and mounts `MOUNTS`.
pub fn mount_kernel_file_systems() -> Result<(), EarlyError> {
    bind_root_over_itself()?;
    for entry in MOUNTS {
        mount_one(entry)?;
    }
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(|source| EarlyError::Root { step: "make-rshared", source: source.into() })
}

/// runc's `pivot_root` refuses a root without a parent mount, and the kernel's own RAM root has none.
fn bind_root_over_itself() -> Result<(), EarlyError> {
    let failed = |step| move |source: rustix::io::Errno| EarlyError::Root { step, source: source.into() };
    mount_bind("/", "/mnt").map_err(failed("bind"))?;
    rustix::process::chdir("/mnt").map_err(failed("chdir"))?;
    mount_move("/mnt", "/").map_err(failed("move"))?;
    rustix::process::chroot(".").map_err(failed("chroot"))?;
    rustix::process::chdir("/").map_err(failed("chdir back"))
}

fn mount_one(entry: &Mount) -> Result<(), EarlyError> {
    let error = |source| EarlyError::Mount { fs_type: entry.fs_type, target: entry.target, source };
    // Some targets lie on file systems whose folders the kernel makes (sysfs) or refuses to make: the mount itself tells.
    let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(entry.target);
    match mount(entry.fs_type, entry.target, entry.fs_type, entry.flags, entry.data) {
        Ok(()) => Ok(()),
        Err(_) if entry.need == Need::IfThere => Ok(()),
        Err(source) => Err(error(source.into())),
    }
}

/// The cgroup below which every service lives.
pub const CGROUP: &str = "/sys/fs/cgroup/skerry";

/// Makes [`CGROUP`] and hands every controller down to it and to its children.
pub fn delegate_cgroups() -> Result<(), EarlyError> {
    enable_controllers(Path::new("/sys/fs/cgroup"))?;
    make_folder(Path::new(CGROUP), 0o755)?;
    enable_controllers(Path::new(CGROUP))
}

fn enable_controllers(folder: &Path) -> Result<(), EarlyError> {
    let path = folder.join("cgroup.controllers");
    let available = fs::read_to_string(&path).map_err(|source| EarlyError::Write { path, source })?;
    let path = folder.join("cgroup.subtree_control");
    fs::write(&path, subtree_control(&available)).map_err(|source| EarlyError::Write { path, source })
}

/// `cpu io memory` → `+cpu +io +memory`.
fn subtree_control(available: &str) -> String {
    available.split_whitespace().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

/// Files in /etc that are the same on every device, below `root`.
pub fn write_fixed_files(root: &Path, release: &Release) -> Result<(), EarlyError> {
    make_folder(&root.join("etc"), 0o755)?;
    for (path, text) in fixed_files(release) {
        write_file(&root.join(path), text.as_bytes(), 0o644)?;
    }
    for folder in ["etc/cni/net.d", "etc/containerd", "etc/rancher/k3s", "run/skerry", "run/lock", "opt/cni"] {
        make_folder(&root.join(folder), 0o755)?;
    }
    link(&root.join("etc/mtab"), "/proc/self/mounts")
}

fn fixed_files(release: &Release) -> Vec<(&'static str, String)> {
    let uid = api::APID_UID;
    vec![
        ("etc/passwd", format!("root:x:0:0:root:/:/nonexistent\napid:x:{uid}:{uid}:Skerry API daemon:/:/nonexistent\n")),
        ("etc/group", format!("root:x:0:\ntty:x:5:\napid:x:{uid}:\n")),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("etc/os-release", os_release(release)),
    ]
}

fn os_release(release: &Release) -> String {
    let Release { version, board, .. } = release;
    format!("NAME=\"Skerry\"\nID=skerry\nVERSION_ID=\"{version}\"\nPRETTY_NAME=\"Skerry {version}\"\nVARIANT_ID=\"{board}\"\n")
}

/// `/etc/machine-id` below `root`: the first 128 bits of the device id, so that it is stable and unique as that is.
pub fn write_machine_id(root: &Path, device_id: &str) -> Result<(), EarlyError> {
    let id: String = device_id.chars().take(32).collect();
    write_file(&root.join("etc/machine-id"), format!("{id}\n").as_bytes(), 0o444)
}

/// Makes a folder and its parents.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), EarlyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| EarlyError::Write { path: path.to_owned(), source })
}

/// Makes a symbolic link unless something stands there.
pub fn link(path: &Path, target: &str) -> Result<(), EarlyError> {
    match symlink(target, path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(EarlyError::Write { path: path.to_owned(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EarlyError> {
    let write = || {
        // A rename replaces whatever stands there, also a file that may not be written.
        let temporary = path.with_extension("new");
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| EarlyError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_is_handed_down() {
        assert_eq!(subtree_control("cpuset cpu io memory pids\n"), "+cpuset +cpu +io +memory +pids");
        assert_eq!(subtree_control(""), "");
    }

    #[test]
    fn nobody_can_log_in() {
        for (path, text) in fixed_files(&Release::unknown()) {
            if path == "etc/passwd" {
                assert!(text.lines().all(|line| line.ends_with(":/nonexistent")), "{text}");
            }
        }
    }

    #[test]
    fn writing_the_fixed_files_twice_is_fine() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for _ in 0..2 {
            write_fixed_files(root.path(), &Release::unknown()).expect("a writable folder");
            write_machine_id(root.path(), &"ab".repeat(32)).expect("a writable folder");
        }
        let id = fs::read_to_string(root.path().join("etc/machine-id")).expect("just written");
        assert_eq!(id, format!("{}\n", "ab".repeat(16)));
        assert!(fs::read_to_string(root.path().join("etc/os-release")).expect("just written").contains("ID=skerry"));
    }

    #[test]
    fn dev_comes_before_what_lies_in_it() {
        let place = |target| MOUNTS.iter().position(|entry| entry.target == target);
        assert!(place("/dev") < place("/dev/pts") && place("/sys") < place("/sys/fs/cgroup"));
    }
}
