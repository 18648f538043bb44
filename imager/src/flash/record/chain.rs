//! A whole log, judged: every line's signature, and that each stands where it was written. Pure. Lines taken from the end leave no gap: whoever must
//! be sure of the end notes its hash and asks for it with [`Log::holds`].

use machine_config::PublicKey;

use super::{Record, RecordError};
use crate::image::digest::Digest;

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
#[error("cannot trust line {line}")]
pub struct LogError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong there.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The line itself.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another line stands there.
    #[error("line {found} stands there: lines were removed, doubled or put into another order")]
    Place {
        /// The line it was written as.
        found: u64,
    },
    /// It was written after another one.
    #[error("it was not written after the line that stands before it: that one was exchanged")]
    Previous,
}

/// A line that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub record: Record,
    /// SHA-256 of it with its line break, by which the next one names it.
    pub sha256: Digest,
}

/// A log whose lines all stand where they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Its lines.
    pub lines: Vec<Line>,
    /// Bytes after the last line break: a line that was never finished. The next that is appended puts them aside.
    pub torn_bytes: u64,
}

impl Log {
    /// Whether a line with this hash is in it. A log without the line that was once its last has lost its end.
    pub fn holds(&self, sha256: &Digest) -> bool {
        self.lines.iter().any(|line| line.sha256 == *sha256)
    }

    /// The records, first to last.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.lines.iter().map(|line| &line.record)
    }
}

/// The log in these bytes, its lines signed by `station` when it is given, else by the keys that they name.
///
/// # Errors
/// The first line that is not believed; nothing after it is worth more than its own signature.
pub fn read(bytes: &[u8], station: Option<&PublicKey>) -> Result<Log, LogError> {
    let mut log = Log::default();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if !line.ends_with(b"\n") {
            log.torn_bytes = line.len() as u64;
            break;
        }
        let previous = log.lines.last().map(|line| line.sha256);
        let record = judge(line, number, previous, station).map_err(|problem| LogError { line: number, problem })?;
        log.lines.push(Line { record, sha256: Digest::of(line) });
    }
    Ok(log)
}

fn judge(line: &[u8], number: u64, previous: Option<Digest>, station: Option<&PublicKey>) -> Result<Record, Problem> {
    let record = Record::parse(line, station)?;
    if record.line != number {
        return Err(Problem::Place { found: record.line });
    }
    if record.previous != previous {
        return Err(Problem::Previous);
    }
    Ok(record)
}
