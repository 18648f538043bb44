//! Where facts are read from, and small readers that know no errors: what cannot be read is empty.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where `/proc` and `/sys` are.
#[derive(Debug, Clone)]
pub struct Roots {
    proc: PathBuf,
    sys: PathBuf,
}

impl Roots {
    /// Those of the running system.
    pub fn system() -> Self {
        Self::new(Path::new("/proc"), Path::new("/sys"))
    }

    /// Others: for tests.
    pub fn new(proc: &Path, sys: &Path) -> Self {
        Self { proc: proc.to_owned(), sys: sys.to_owned() }
    }

    pub(super) fn proc_path(&self, path: &str) -> PathBuf {
        self.proc.join(path)
    }

    pub(super) fn sys_path(&self, path: &str) -> PathBuf {
        self.sys.join(path)
    }

    /// The text of a file below `/proc`.
    pub(super) fn proc(&self, path: &str) -> String {
        text(&self.proc.join(path))
    }

    /// The text of a file below `/sys`.
    pub(super) fn sys(&self, path: &str) -> String {
        text(&self.sys.join(path))
    }

    pub(super) fn has_sys(&self, path: &str) -> bool {
        self.sys.join(path).exists()
    }
}

/// A file's text without the white space and NUL bytes around it; what is not UTF-8 is replaced.
pub(super) fn text(path: &Path) -> String {
    clean(&std::fs::read(path).unwrap_or_default())
}

/// Bytes as text without the white space and NUL bytes around it; what is not UTF-8 is replaced.
pub(super) fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
}

/// At most the first `limit` bytes of a file.
pub(super) fn head(path: &Path, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A process may end while it is read: what came until then is what there is.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

/// The number a file holds; 0 when it holds none.
pub(super) fn number(path: &Path) -> u64 {
    text(path).parse().unwrap_or(0)
}

/// Names in a folder, sorted so that numbers inside names count as numbers: `eth2` before `eth10`.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_cached_key(|name| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem.to_owned(), name[stem.len()..].parse::<u64>().unwrap_or(0))
    });
    names
}

/// The value of `KEY` in lines of the form `KEY<separator>value`.
pub(super) fn field<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let folder = tempfile::tempdir().expect("a temp folder");
        for name in ["eth10", "eth2", "br0", "eth"] {
            std::fs::write(folder.path().join(name), "").expect("it can be written");
        }
        assert_eq!(names(folder.path()), ["br0", "eth", "eth2", "eth10"]);
        assert!(names(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotal:  10 kB\nMem: 5";
        assert_eq!(field(text, "Mem", ':'), Some("5"));
        assert_eq!(field(text, "Swap", ':'), None);
    }

    #[test]
    fn a_head_is_no_longer_than_asked_for() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("cmdline");
        std::fs::write(&path, [b'x'; 100]).expect("it can be written");
        assert_eq!(head(&path, 7).len(), 7);
        assert_eq!(head(Path::new("/nowhere"), 7).len(), 0);
    }
}
