//! Unmounting everything that lies on a disk: last mounted first, and read-only where something still holds on.

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use crate::mountinfo::{self, MountPoint};

/// Mounts that other steps still need, or that end with the kernel.
const KEPT: &[&str] = &["/", "/proc", "/sys", "/dev", "/run", "/sys/fs/cgroup"];

/// Unmounts what can be; a file system on a disk that is still busy is made read-only.
pub(super) fn unmount_all() {
    let Ok(mounted) = std::fs::read("/proc/self/mountinfo") else { return };
    for point in plan(&mounted) {
        if point.on_disk() {
            release(&point.target);
        } else {
            // In memory, or behind a network or a process that may be gone: cut loose, so that no disk waits behind it.
            let _ = unmount(&point.target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH | UnmountFlags::FORCE);
        }
    }
}

/// Tries of a busy file system, and the pause between them: what has just ended lets go of its files a moment later, and the kernel
/// tells nobody.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

fn release(path: &Path) {
    let mut tries = 1;
    let error = loop {
        match unmount(path, UnmountFlags::NOFOLLOW) {
            Ok(()) => return,
            Err(Errno::BUSY) if tries < TRIES => tries += 1,
            Err(error) => break error,
        }
        std::thread::sleep(PAUSE);
    };
    tracing::warn!(path = %path.display(), %error, "cannot unmount, making it read-only");
    if let Err(error) = mount_remount(path, MountFlags::RDONLY, c"") {
        tracing::error!(path = %path.display(), %error, "cannot make it read-only");
    }
}

fn plan(mounted: &[u8]) -> Vec<MountPoint> {
    let kept = |point: &MountPoint| KEPT.iter().any(|kept| point.target.as_os_str() == *kept);
    let mut points: Vec<_> = mountinfo::parse(mounted).filter(|point| !kept(point)).collect();
    points.reverse();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
20 1 0:2 / / rw shared:1 - rootfs rootfs rw
21 20 0:20 / /proc rw shared:2 - proc proc rw
22 20 0:21 / /run rw - tmpfs tmpfs rw
23 22 254:5 / /run/skerry/state rw - ext4 /dev/vda5 rw
24 20 253:0 / /usr ro - squashfs /dev/dm-0 ro
25 20 254:6 / /var rw - ext4 /dev/vda6 rw
26 22 0:40 / /run/a\\040b rw - overlay overlay rw
";

    #[test]
    fn the_last_mounted_goes_first_and_what_is_needed_stays() {
        let paths: Vec<_> = plan(INFO.as_bytes()).into_iter().map(|point| (point.on_disk(), point.target)).collect();
        let expected = [("/run/a b", false), ("/var", true), ("/usr", true), ("/run/skerry/state", true)];
        assert_eq!(paths, expected.map(|(path, on_disk)| (on_disk, path.into())));
    }
}
