//! The journal's file: read once at the start, then only added to, by one process. What a write that failed left in it is taken away before the
//! next one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::content::{Content, Later, Torn};
use super::line::{Fact, Line};

/// Its name in the hub's folder.
pub(super) const FILE: &str = "hub.journal";

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
    /// Another process has it.
    #[error("cannot use the hub's journal {}: another skerry-hub runs with this folder; each needs one of its own", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A line in it was written by a later program.
    #[error("cannot read line {number} of the hub's journal {}: a later program wrote it; use that one", .path.display())]
    Later {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        number: usize,
    },
    /// A line in it was not written whole, and the database does not know what it said.
    #[error(
        "cannot read line {number} of the hub's journal {}: it was not written whole, and the database is an older one, which does not know what \
         it said; start once with the newest database, or, when there is none, take the line out: what it said is lost then", .path.display()
    )]
    Lost {
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
    torn: Option<Torn>,
    last: i64,
    /// Bytes up to which its lines are whole.
    whole: u64,
    /// Something stands behind them.
    has_rest: bool,
}

impl Journal {
    /// The journal in this folder, made if there is none. It is this process's until it is dropped.
    ///
    /// # Errors
    /// The file cannot be used, another process uses it, or a later program wrote it.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| JournalError::Io { doing, path, source }
        };
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path).map_err(failed("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(JournalError::InUse { path }),
            Err(error) => return Err(failed("lock")(error.into())),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let Content { lines, whole, torn } =
            Content::of(&bytes).map_err(|Later(number)| JournalError::Later { path: path.clone(), number })?;
        let last = lines.last().map_or(0, |line| line.seq);
        Ok(Self { file, path, lines, torn, last, whole, has_rest: whole < bytes.len() as u64 })
    }

    /// What stood in it when it was opened, oldest first; once.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        let behind = self.torn.iter().flat_map(|torn| torn.behind.iter().cloned());
        let lines = std::mem::take(&mut self.lines).into_iter().chain(behind);
        lines.map(|line| line.fact).collect()
    }

    /// The number of the audit's line that it kept last; 0: it is new. Lines behind one that is torn do not count.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Proves that nothing is lost by a line that is torn: an audit with `head` lines has all that stood there.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn check(&self, head: i64) -> Result<(), JournalError> {
        let Some(torn) = &self.torn else { return Ok(()) };
        let last = torn.behind.last().map_or(self.last, |line| line.seq);
        if last > head { Err(JournalError::Lost { path: self.path.clone(), number: torn.number }) } else { Ok(()) }
    }

    /// Takes the line away that is torn, and all behind it: they are to be taken from the audit again. Which it was, if there was one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn cut(&mut self) -> Result<Option<usize>, JournalError> {
        let Some(torn) = self.torn.take() else { return Ok(None) };
        self.mend()?;
        if torn.was_restored() && self.last > 0 {
            // Which numbers its lines have is not known any more: all of the audit is looked through.
            self.add(&[Line { seq: 0, fact: Fact::Restored }])?;
        }
        Ok(Some(torn.number))
    }

    /// Takes away what a write left that failed.
    fn mend(&mut self) -> Result<(), JournalError> {
        if self.has_rest {
            let failed = |source| JournalError::Io { doing: "mend", path: self.path.clone(), source };
            self.file.set_len(self.whole).map_err(failed)?;
            self.has_rest = false;
        }
        Ok(())
    }

    /// Adds lines; they are on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        let Some(last) = lines.last() else { return Ok(()) };
        self.mend()?;
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.has_rest = true;
        let failed = |source| JournalError::Io { doing: "write", path: self.path.clone(), source };
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(failed)?;
        self.whole += text.len() as u64;
        (self.has_rest, self.last) = (false, last.seq);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: i64) -> Line {
        Line { seq, fact: Fact::Revoked { token: "t".into() } }
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_line_and_nonsense_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        Journal::open(folder.path()).unwrap().add(&[line(1), line(2)]).unwrap();
        let path = folder.path().join(FILE);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3 revo").unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.take_facts().len(), journal.last()), (2, 2));
        journal.add(&[line(3)]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(folder.path()).unwrap().last(), 3);
        std::fs::write(&path, "1 revoked t\n2 forgiven t\n").unwrap();
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Later { number: 2, .. })));
    }

    #[test]
    fn what_a_full_disk_left_of_a_write_does_not_stand_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.add(&[line(1)]).unwrap();
        // A file that can only be read takes no line.
        let path = folder.path().join(FILE);
        let file = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(matches!(journal.add(&[line(2), line(3)]), Err(JournalError::Io { doing: "write", .. })));
        assert_eq!(journal.last(), 1);
        // A full disk takes a part of it.
        (&file).write_all(b"2 revoked t\n3 revo").unwrap();
        journal.file = file;
        journal.add(&[line(2), line(3)]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 revoked t\n2 revoked t\n3 revoked t\n");
    }

    #[test]
    fn a_second_process_in_the_folder_is_told_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = Journal::open(folder.path()).unwrap();
        let refused = Journal::open(folder.path()).unwrap_err();
        assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
        drop(first);
        Journal::open(folder.path()).unwrap();
    }
}
