//! Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the one parser for what is shown and what is unmounted.
//!
//! Pure. Paths are bytes, since a container may mount something under a name that is not text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// `major:minor`; the major number is 0 where there is no disk.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    /// Options of this mount.
    pub(crate) options: String,
    /// The file system's type.
    pub(crate) fs_type: String,
    /// What is mounted: a device file, or a word.
    pub(crate) source: String,
}

impl MountPoint {
    /// Whether it lies on a block device.
    pub(crate) fn on_disk(&self) -> bool {
        !self.device.starts_with("0:")
    }
}

/// Every line that is one, in the order they were mounted.
pub(crate) fn parse(mountinfo: &[u8]) -> impl Iterator<Item = MountPoint> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(line)
}

/// `36 35 98:0 /root /mount/point options optional… - type source options`.
fn line(line: &[u8]) -> Option<MountPoint> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // The optional fields end at a dash; it stands behind the six that are always there.
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let text = |at: usize| fields.get(at).map(|field| String::from_utf8_lossy(&unescape(field)).into_owned());
    Some(MountPoint {
        device: text(2)?,
        target: OsString::from_vec(unescape(fields[4])).into(),
        options: text(5)?,
        fs_type: text(dash + 1)?,
        source: text(dash + 2)?,
    })
}

/// Space, tab, newline and backslash stand as `\040` and so on; anything else is itself.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
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
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_optional_fields() {
        let text = b"28 27 259:5 / /var rw,noatime shared:2 master:3 - ext4 /dev/vda5 rw\n22 27 0:21 / /a\\040b rw - proc proc rw\nshort";
        let points: Vec<_> = parse(text).collect();
        let expected = MountPoint {
            device: "259:5".into(),
            target: "/var".into(),
            options: "rw,noatime".into(),
            fs_type: "ext4".into(),
            source: "/dev/vda5".into(),
        };
        assert_eq!(points[0], expected);
        assert!(points[0].on_disk() && !points[1].on_disk());
        assert_eq!((points.len(), points[1].target.to_str()), (2, Some("/a b")));
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_other_mount() {
        let text = b"1 0 0:5 / /\xff rw - tmpfs x rw\n2 0 254:6 / /var rw - ext4 /dev/vda6 rw\n";
        let points: Vec<_> = parse(text).collect();
        assert_eq!(points[0].target.as_os_str().as_encoded_bytes(), b"/\xff");
        assert_eq!(points[1].target.to_str(), Some("/var"));
    }

    #[test]
    fn escapes_are_undone_and_others_left_alone() {
        for (escaped, expected) in [("a\\040b\\134c", "a b\\c"), ("a\\04", "a\\04"), ("a\\999", "a\\999"), ("\\777", "\\777")] {
            assert_eq!(unescape(escaped.as_bytes()), expected.as_bytes(), "{escaped}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes).count();
        }
    }
}
