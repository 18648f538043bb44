//! Appending to a log: whole lines only, one writer at a time, on the disk before it is said to be. Begins where the last whole line ends: what a
//! power cut left after it is put into a file beside the log. Judges no line but the last; [`super::chain`] judges all.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use machine_config::SigningKey;

use super::{Entry, Link, MAX_LINE_BYTES, Record, RecordError, SetAside};
use crate::draft::{Draft, folder_of};
use crate::image::digest::Digest;

/// Why nothing is appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It cannot be opened.
    #[error("cannot open the log {}: name a file in a folder that is there with --record", path.display())]
    Open {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device, folder or pipe.
    #[error("cannot record in {}: it is not a file; name one with --record", path.display())]
    NotAFile {
        /// As named.
        path: PathBuf,
    },
    /// Its end is no log's.
    #[error("cannot append to {}: its last line is not to be trusted; keep it and name another file with --record", path.display())]
    LastLine {
        /// The log.
        path: PathBuf,
        /// Why.
        source: RecordError,
    },
    /// Its end is no line at all.
    #[error("cannot append to {}: it is not a log that `imager flash` wrote; name another file with --record", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
    },
    /// What belongs into no line.
    #[error("cannot record {drive}: the record would be longer than {MAX_LINE_BYTES} bytes")]
    TooLong {
        /// The drive.
        drive: String,
    },
    /// It could not be written. Nothing of it is in the log.
    #[error("cannot write the log {}: the drive's record is missing there", path.display())]
    Write {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The line, from 1.
    pub line: u64,
    /// SHA-256 of it with its line break.
    pub sha256: Digest,
    /// An unfinished line that was put aside first, which somebody should be told.
    pub set_aside: Option<SetAside>,
}

/// Appends to one log, with one station's key. May be shared by threads, and the log by programs.
pub struct Recorder {
    path: PathBuf,
    station: SigningKey,
}

/// Where a log's last whole line ends, and what comes after it.
struct End {
    bytes: u64,
    last: Option<(u64, Digest)>,
    torn: Vec<u8>,
}

impl Recorder {
    /// Looks whether lines can be appended to `path`, before any drive is written to. Makes the log when there is none; changes none that is there.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn open(path: &Path, station: SigningKey) -> Result<Self, AppendError> {
        let recorder = Self { path: path.to_owned(), station };
        recorder.end(&recorder.locked()?)?;
        let folder = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
        folder.map_err(|source| recorder.unwritable(source))?;
        Ok(recorder)
    }

    /// Appends what became of one drive. When this returns, it is on the disk.
    ///
    /// # Errors
    /// See [`AppendError`]. The log is as it was before, but for an unfinished line that was put aside.
    pub fn append(&self, entry: Entry) -> Result<Appended, AppendError> {
        let file = self.locked()?;
        let end = self.end(&file)?;
        let set_aside = self.set_aside(&file, &end).map_err(|source| self.unwritable(source))?;
        let number = end.last.map_or(1, |(line, _)| line + 1);
        let drive = entry.path.clone();
        let link = Link { line: number, previous: end.last.map(|(_, sha256)| sha256), set_aside: set_aside.clone() };
        let line = Record::line(entry, link, &self.station);
        if line.len() > MAX_LINE_BYTES {
            return Err(AppendError::TooLong { drive });
        }
        write_line(&file, line.as_bytes(), end.bytes).map_err(|source| self.unwritable(source))?;
        Ok(Appended { line: number, sha256: Digest::of(line.as_bytes()), set_aside })
    }

    /// The log, nobody else's until it is closed.
    fn locked(&self) -> Result<File, AppendError> {
        let path = || self.path.clone();
        if std::fs::metadata(&self.path).is_ok_and(|meta| !meta.is_file()) {
            return Err(AppendError::NotAFile { path: path() });
        }
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&self.path);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| AppendError::Open { path: path(), source })
    }

    /// Reads as much of the log's end as its last line and an unfinished one can take.
    fn end(&self, file: &File) -> Result<End, AppendError> {
        let tail = read_tail(file).map_err(|source| AppendError::Open { path: self.path.clone(), source })?;
        let bytes = tail.offset + tail.bytes.len() as u64;
        let Some(whole) = tail.bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1) else {
            return match tail.bytes.len() <= MAX_LINE_BYTES {
                true => Ok(End { bytes: bytes - tail.bytes.len() as u64, last: None, torn: tail.bytes }),
                false => Err(AppendError::NoLog { path: self.path.clone() }),
            };
        };
        let begin = tail.bytes[..whole - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = &tail.bytes[begin..whole];
        let record = Record::parse(line, None).map_err(|source| AppendError::LastLine { path: self.path.clone(), source })?;
        let torn = tail.bytes[whole..].to_vec();
        Ok(End { bytes: bytes - torn.len() as u64, last: Some((record.line, Digest::of(line))), torn })
    }

    /// Puts an unfinished line into a file of its own, then takes it from the log. Cut in between, it is found again and gets the same file.
    fn set_aside(&self, log: &File, end: &End) -> io::Result<Option<SetAside>> {
        if end.torn.is_empty() {
            return Ok(None);
        }
        let sha256 = Digest::of(&end.torn);
        let log_name = self.path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        let name = format!("{log_name}.torn-{}", &sha256.hex()[..16]);
        let folder = folder_of(&self.path);
        let mut draft = Draft::create(folder)?;
        draft.write_all(&end.torn)?;
        draft.file().sync_all()?;
        draft.publish(&folder.join(&name))?;
        File::open(folder)?.sync_all()?;
        log.set_len(end.bytes)?;
        log.sync_all()?;
        Ok(Some(SetAside { file: name, bytes: end.torn.len() as u64, sha256 }))
    }

    fn unwritable(&self, source: io::Error) -> AppendError {
        AppendError::Write { path: self.path.clone(), source }
    }
}

/// All of the line or nothing: a disk that is full in the middle gets the log's old length back.
fn write_line(mut log: &File, line: &[u8], end: u64) -> io::Result<()> {
    log.write_all(line).and_then(|()| log.sync_all()).inspect_err(|_| {
        log.set_len(end).ok(); // what stays is an unfinished line, which the next one puts aside
    })
}

struct Tail {
    offset: u64,
    bytes: Vec<u8>,
}

fn read_tail(file: &File) -> io::Result<Tail> {
    let length = file.metadata()?.len();
    let count = length.min(2 * MAX_LINE_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(count).expect("at most two lines")];
    file.read_exact_at(&mut bytes, length - count)?;
    Ok(Tail { offset: length - count, bytes })
}
