//! The journal's file: read once at the start, then only added to. A line that was cut off when the host lost its power was no line yet.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::line::{Fact, Line};

/// Its name in the hub's folder.
const FILE: &str = "hub.journal";

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("cannot {doing} the hub's journal {}", .path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line in it was not written by this program, or by a later one.
    #[error("cannot read line {number} of the hub's journal {}: it is no line of a journal; a later program may have written it", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        number: usize,
    },
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    lines: Vec<Line>,
    last: i64,
}

impl Journal {
    /// The journal in this folder, made if there is none.
    ///
    /// # Errors
    /// The file cannot be used, or is no journal.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| JournalError::Io { doing, path, source }
        };
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path).map_err(failed("open"))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed("read"))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed("mend"))?;
        }
        let lines = (1..)
            .zip(text[..whole].lines())
            .map(|(number, line)| line.parse().map_err(|_| JournalError::Line { path: path.clone(), number }));
        let lines = lines.collect::<Result<Vec<Line>, _>>()?;
        let last = lines.last().map_or(0, |line| line.seq);
        Ok(Self { file, path, lines, last })
    }

    /// What stood in it when it was opened, oldest first; once.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.lines).into_iter().map(|line| line.fact).collect()
    }

    /// The number of the audit's line that it kept last; 0: it is new.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Adds lines; they are on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        let failed = |source| JournalError::Io { doing: "write", path: self.path.clone(), source };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(failed)?;
        self.last = lines.last().map_or(self.last, |line| line.seq);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_no_line_and_nonsense_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let line = |seq| Line { seq, fact: Fact::Revoked { token: "t".into() } };
        Journal::open(folder.path()).unwrap().add(&[line(1), line(2)]).unwrap();
        let path = folder.path().join(FILE);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3 revo").unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.take_facts().len(), journal.last()), (2, 2));
        journal.add(&[line(3)]).unwrap();
        assert_eq!(Journal::open(folder.path()).unwrap().last(), 3);
        std::fs::write(&path, "1 revoked t\n2 forgiven t\n").unwrap();
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Line { number: 2, .. })));
    }
}
