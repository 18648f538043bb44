//! How far a drive is, told by its thread and read by whoever looks on: the table, and the watchdog that gives up drives that do not answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::outcome::Failure;
use crate::image::digest::Digest;

/// What a drive is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    Opening,
    /// What misleads is made zeros; its capacity is probed.
    Clearing,
    /// The image is written.
    Writing,
    /// Everything is read back.
    ReadingBack,
}

impl Stage {
    /// Its word in tables and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Clearing => "clearing",
            Self::Writing => "writing",
            Self::ReadingBack => "reading back",
        }
    }
}

/// What a drive's thread has to say.
#[derive(Debug)]
pub(super) enum News {
    /// It went on to another stage.
    Stage(Stage),
    /// So many bytes of the image are written, or compared, in this stage.
    Done(u64),
    /// Something a person should know.
    Note(String),
    /// It is over.
    Ended(Ended),
}

/// How a drive's thread ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Digest of what was read back.
    pub(super) readback: Option<Digest>,
    /// How it went.
    pub(super) result: Result<(), Failure>,
}

/// What is being asked of a drive at the moment.
#[derive(Debug, Clone, Copy)]
struct Asking {
    what: &'static str,
    since: Instant,
}

/// One drive's status.
#[derive(Debug)]
pub(super) struct Status {
    drive: usize,
    news: Sender<(usize, News)>,
    asking: Mutex<Option<Asking>>,
    written: AtomicU64,
    compared: AtomicU64,
    abandoned: AtomicBool,
}

impl Status {
    /// Of the drive with this number, which tells its news there.
    pub(super) fn new(drive: usize, news: Sender<(usize, News)>) -> Self {
        let (written, compared, abandoned) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { drive, news, asking: Mutex::new(None), written, compared, abandoned }
    }

    fn asking(&self) -> MutexGuard<'_, Option<Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells something. Nobody listens any more to a drive that was given up.
    pub(super) fn tell(&self, news: News) {
        self.news.send((self.drive, news)).ok();
    }

    /// Goes on to another stage.
    pub(super) fn stage(&self, stage: Stage) {
        self.tell(News::Stage(stage));
    }

    /// So many more bytes are written.
    pub(super) fn written(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        self.tell(News::Done(before + bytes));
    }

    /// So many more bytes are compared.
    pub(super) fn compared(&self, bytes: u64) {
        let before = self.compared.fetch_add(bytes, Ordering::Relaxed);
        self.tell(News::Done(before + bytes));
    }

    /// All bytes written so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Runs `ask` while the watchdog knows what is asked.
    pub(super) fn during<T>(&self, what: &'static str, ask: impl FnOnce() -> T) -> T {
        *self.asking() = Some(Asking { what, since: Instant::now() });
        let answer = ask();
        *self.asking() = None;
        answer
    }

    /// When the drive must have answered, if it is asked something; and what.
    pub(super) fn deadline(&self, patience: Duration) -> Option<(Instant, &'static str)> {
        self.asking().map(|asking| (asking.since + patience, asking.what))
    }

    /// Nobody waits for this drive any more; its thread is to stop as soon as it can.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether that has happened.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}
