//! Unmounting everything that lies on a disk: last mounted first, and read-only where something still holds on.

use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MountPoint {
    path: String,
    /// On a block device (major number not 0).
    on_disk: bool,
}

/// Mounts that other steps still need, or that end with the kernel.
const KEPT: &[&str] = &["/", "/proc", "/sys", "/dev", "/run", "/sys/fs/cgroup"];

/// Unmounts what can be; a file system on a disk that is still busy is made read-only.
pub(super) fn unmount_all() {
    let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    for point in plan(&text) {
        if point.on_disk {
            release(&point.path);
        } else {
            // In memory, or behind a network or a process that may be gone: cut loose, so that no disk waits behind it.
            let _ = unmount(point.path.as_str(), UnmountFlags::NOFOLLOW | UnmountFlags::DETACH | UnmountFlags::FORCE);
        }
    }
}

/// Tries of a busy file system, and the pause between them: what has just ended lets go of its files a moment later, and the kernel
/// tells nobody.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

fn release(path: &str) {
    let mut tries = 1;
    let error = loop {
        match unmount(path, UnmountFlags::NOFOLLOW) {
            Ok(()) => return,
            Err(Errno::BUSY) if tries < TRIES => tries += 1,
            Err(error) => break error,
        }
        std::thread::sleep(PAUSE);
    };
    tracing::warn!(path, %error, "cannot unmount, making it read-only");
    if let Err(error) = mount_remount(path, MountFlags::RDONLY, c"") {
        tracing::error!(path, %error, "cannot make it read-only");
    }
}

fn plan(mountinfo: &str) -> Vec<MountPoint> {
    let mut points: Vec<_> = mountinfo.lines().filter_map(parse).filter(|point| !KEPT.contains(&point.path.as_str())).collect();
    points.reverse();
    points
}

/// `36 35 98:0 /root /mount/point options …`; the kernel writes blanks in paths as `\040`.
fn parse(line: &str) -> Option<MountPoint> {
    let mut fields = line.split(' ').skip(2);
    let device = fields.next()?;
    let path = fields.nth(1)?;
    Some(MountPoint { path: unescape(path), on_disk: !device.starts_with("0:") })
}

fn unescape(path: &str) -> String {
    let mut text = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => text.push(char::from(code)),
            None => return path.to_owned(),
        }
        rest = &rest[at + 4..];
    }
    text + rest
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
        let paths: Vec<_> = plan(INFO).into_iter().map(|point| (point.path, point.on_disk)).collect();
        let expected = [("/run/a b", false), ("/var", true), ("/usr", true), ("/run/skerry/state", true)];
        assert_eq!(paths, expected.map(|(path, on_disk)| (path.to_owned(), on_disk)));
    }

    #[test]
    fn odd_escapes_are_kept_as_they_are() {
        assert_eq!(unescape("/a\\04"), "/a\\04");
        assert_eq!(unescape("/a\\134b"), "/a\\b");
    }
}
