//! Mounted file systems with their sizes. Those of containers and those behind a network are left out: there are hundreds of the first, and
//! asking the second may never return.

use std::collections::BTreeSet;

use api::v1::Mount;

use super::source::Roots;

/// Below these, containerd and the kubelet mount what belongs to pods.
const CONTAINER_FOLDERS: [&str; 4] = ["/run/containerd/", "/run/netns/", "/var/lib/kubelet/", "/var/lib/containerd/"];

/// File systems on the machine itself that hold data. Everything else holds none, or may not answer.
const LOCAL_TYPES: [&str; 13] =
    ["btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext4", "f2fs", "iso9660", "overlay", "squashfs", "tmpfs", "vfat", "xfs"];

/// One line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    device: String,
    target: String,
    options: String,
    fs_type: String,
    source: String,
}

/// The file systems, in the order they were mounted; of several mounts of one, the first.
pub(super) fn read(roots: &Roots) -> Vec<Mount> {
    let entries = shown(&roots.proc("self/mountinfo"));
    entries.into_iter().map(measured).collect()
}

fn shown(mountinfo: &str) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    let mut entries: Vec<Entry> = mountinfo.lines().filter_map(parse).collect();
    entries.retain(|entry| {
        LOCAL_TYPES.contains(&entry.fs_type.as_str())
            && !CONTAINER_FOLDERS.iter().any(|folder| entry.target.starts_with(folder))
            && seen.insert(entry.device.clone())
    });
    entries
}

fn parse(line: &str) -> Option<Entry> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<&str> = before.split(' ').collect();
    let after: Vec<&str> = after.split(' ').collect();
    Some(Entry {
        device: (*before.get(2)?).to_owned(),
        target: unescape(before.get(4)?),
        options: (*before.get(5)?).to_owned(),
        fs_type: (*after.first()?).to_owned(),
        source: unescape(after.get(1)?),
    })
}

/// Space, tab, newline and backslash stand as `\040` and so on.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn measured(entry: Entry) -> Mount {
    let (size_bytes, available_bytes) = rustix::fs::statvfs(&entry.target)
        .map_or((0, 0), |size| (size.f_blocks.saturating_mul(size.f_frsize), size.f_bavail.saturating_mul(size.f_frsize)));
    Mount {
        source: entry.source,
        target: entry.target,
        fs_type: entry.fs_type,
        options: entry.options,
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
        let entries = shown(MOUNTINFO);
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {} {} {}", entry.target, entry.fs_type, entry.source, entry.options))
            .collect();
        assert_eq!(lines, ["/ tmpfs rootfs rw", "/var ext4 /dev/vda5 rw,noatime", "/mnt/my stick vfat /dev/sda1 ro"]);
    }

    #[test]
    fn sizes_are_those_of_the_file_system() {
        let entry = parse("1 0 0:2 / / rw - tmpfs x rw").expect("well-formed");
        let mount = measured(entry);
        assert!(mount.size_bytes >= mount.available_bytes && mount.size_bytes > 0);
        let gone = parse("1 0 0:2 / /nowhere rw - tmpfs x rw").expect("well-formed");
        assert_eq!(measured(gone).size_bytes, 0);
    }

    #[test]
    fn escapes_are_undone_and_others_left_alone() {
        assert_eq!(unescape("a\\040b\\134c"), "a b\\c");
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("a\\999"), "a\\999");
        assert_eq!(unescape("\\777"), "\\777", "no byte is that large");
    }
}
