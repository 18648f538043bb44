//! What is mounted and what is swapped to: `/proc/self/mountinfo` and `/proc/swaps`.

use std::io;
use std::path::{Path, PathBuf};

use super::DeviceNumber;

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    number: Option<DeviceNumber>,
    source: PathBuf,
    at: PathBuf,
}

/// The two tables.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    mounts: Vec<Mount>,
    swaps: Vec<PathBuf>,
}

impl Mounts {
    pub(super) fn read(proc: &Path) -> io::Result<Self> {
        let mounts = std::fs::read(proc.join("self/mountinfo"))?; // names in it need not be text
        let mounts = String::from_utf8_lossy(&mounts).lines().filter_map(mount).collect();
        let swaps = match std::fs::read_to_string(proc.join("swaps")) {
            Ok(text) => text.lines().skip(1).filter_map(|line| Some(unescape(line.split_whitespace().next()?))).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(), // a kernel without swap
            Err(error) => return Err(error),
        };
        Ok(Self { mounts, swaps })
    }

    /// Where a device is mounted: by its number, or, for file systems that have a number of their own, by its name.
    pub(super) fn of<'a>(&'a self, number: DeviceNumber, device: &'a Path) -> impl Iterator<Item = &'a Path> {
        let same = move |mount: &&Mount| mount.number == Some(number) || is_same(&mount.source, device);
        self.mounts.iter().filter(same).map(|mount| mount.at.as_path())
    }

    /// Whether a device or file is swapped to.
    pub(super) fn is_swap(&self, path: &Path) -> bool {
        self.swaps.iter().any(|swap| is_same(swap, path))
    }
}

/// Whether a table's name of a device is that device, also behind a link such as `/dev/mapper/x`.
fn is_same(named: &Path, device: &Path) -> bool {
    named == device || (named.is_absolute() && named.canonicalize().is_ok_and(|real| real == device))
}

/// A line of mountinfo: `36 35 98:0 /root /at options optional… - type source options`.
fn mount(line: &str) -> Option<Mount> {
    let (place, device) = line.split_once(" - ")?;
    let mut fields = place.split(' ');
    let number = fields.nth(2)?;
    let at = unescape(fields.nth(1)?);
    let number = number
        .split_once(':')
        .and_then(|(major, minor)| Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? }));
    Some(Mount { number, source: unescape(device.split(' ').nth(1)?), at })
}

/// The kernel writes spaces and the like as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = r"36 35 8:17 / /media/My\040Stick rw,noatime shared:1 master:2 - vfat /dev/sdb1 rw";
        let expected = Mount {
            number: Some(DeviceNumber { major: 8, minor: 17 }),
            source: "/dev/sdb1".into(),
            at: "/media/My Stick".into(),
        };
        assert_eq!(mount(line), Some(expected));
        assert_eq!(mount("36 35 8:17 / /x rw"), None);
        assert_eq!(mount(""), None);
    }
}
