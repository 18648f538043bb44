//! Mounted file systems with their sizes. Those of containers and those behind a network are left out: there are hundreds of the first, and
//! asking the second may never return.

use std::collections::BTreeSet;

use api::v1::Mount;

use super::source::Roots;
use crate::mountinfo::{self, MountPoint};

/// Below these, containerd and the kubelet mount what belongs to pods.
const CONTAINER_FOLDERS: [&str; 4] = ["/run/containerd/", "/run/netns/", "/var/lib/kubelet/", "/var/lib/containerd/"];

/// File systems on the machine itself that hold data. Everything else holds none, or may not answer.
const LOCAL_TYPES: [&str; 13] =
    ["btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext4", "f2fs", "iso9660", "overlay", "squashfs", "tmpfs", "vfat", "xfs"];

/// The file systems, in the order they were mounted; of several mounts of one, the first.
pub(super) fn read(roots: &Roots) -> Vec<Mount> {
    // What cannot be read is empty.
    let mounted = std::fs::read(roots.proc_path("self/mountinfo")).unwrap_or_default();
    shown(&mounted).into_iter().map(measured).collect()
}

fn shown(mounted: &[u8]) -> Vec<MountPoint> {
    let mut seen = BTreeSet::new();
    let mut points: Vec<MountPoint> = mountinfo::parse(mounted).collect();
    points.retain(|point| {
        LOCAL_TYPES.contains(&point.fs_type.as_str())
            && !CONTAINER_FOLDERS.iter().any(|folder| point.target.starts_with(folder))
            && seen.insert(point.device.clone())
    });
    points
}

fn measured(point: MountPoint) -> Mount {
    let (size_bytes, available_bytes) = rustix::fs::statvfs(&point.target)
        .map_or((0, 0), |size| (size.f_blocks.saturating_mul(size.f_frsize), size.f_bavail.saturating_mul(size.f_frsize)));
    Mount {
        source: point.source,
        target: point.target.to_string_lossy().into_owned(),
        fs_type: point.fs_type,
        options: point.options,
        size_bytes,
        available_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 0:2 / / rw shared:1 - tmpfs rootfs rw,size=1g
28 27 259:5 / /var rw,noatime shared:2 master:3 - ext4 /dev/vda5 rw
29 27 259:5 /lib /var/lib rw,noatime - ext4 /dev/vda5 rw
30 27 0:44 / /run/containerd/io.containerd/x rw - overlay overlay rw
31 27 0:45 / /mnt/my\\040stick ro - vfat /dev/sda1 ro
32 27 0:46 / /mnt/share rw - nfs4 server:/x rw
short line
";

    #[test]
    fn local_file_systems_once_each() {
        let entries = shown(MOUNTINFO.as_bytes());
        let lines: Vec<String> = entries
            .iter()
            .map(|point| format!("{} {} {} {}", point.target.display(), point.fs_type, point.source, point.options))
            .collect();
        assert_eq!(lines, ["/ tmpfs rootfs rw", "/var ext4 /dev/vda5 rw,noatime", "/mnt/my stick vfat /dev/sda1 ro"]);
    }

    #[test]
    fn sizes_are_those_of_the_file_system() {
        let one = |line: &[u8]| mountinfo::parse(line).next().expect("well-formed");
        let mount = measured(one(b"1 0 0:2 / / rw - tmpfs x rw"));
        assert!(mount.size_bytes >= mount.available_bytes && mount.size_bytes > 0);
        assert_eq!(measured(one(b"1 0 0:2 / /nowhere rw - tmpfs x rw")).size_bytes, 0);
    }
}
