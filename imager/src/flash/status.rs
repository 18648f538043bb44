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
    /// Somebody asked the run to end.
    Stopping,
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

/// How long a drive may take for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as for any block.
    Once,
    /// Twice as long: the kernel too gives a drive twice as long to empty its cache.
    Twice,
}

impl Patience {
    fn of(self, once: Duration) -> Duration {
        match self {
            Self::Once => once,
            Self::Twice => once * 2,
        }
    }
}

/// What is being asked of a drive at the moment.
#[derive(Debug, Clone, Copy)]
struct Asking {
    number: u64,
    what: &'static str,
    since: Instant,
    patience: Patience,
}

/// All that is being asked of it: while it is read back, several threads ask.
#[derive(Debug, Default)]
struct AllAsking {
    asked: u64,
    open: Vec<Asking>,
}

/// A question without an answer yet; dropped, it is answered.
struct Open<'a> {
    status: &'a Status,
    number: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.status.asking().open.retain(|asking| asking.number != self.number);
    }
}

/// What a drive has not answered, since too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// When it must have answered.
    pub(super) at: Instant,
    /// What it was asked.
    pub(super) what: &'static str,
    /// How long it may take.
    pub(super) patience: Duration,
}

/// One drive's status.
#[derive(Debug)]
pub(super) struct Status {
    drive: usize,
    news: Sender<(usize, News)>,
    asking: Mutex<AllAsking>,
    written: AtomicU64,
    compared: AtomicU64,
    abandoned: AtomicBool,
}

impl Status {
    /// Of the drive with this number, which tells its news there.
    pub(super) fn new(drive: usize, news: Sender<(usize, News)>) -> Self {
        let (written, compared, abandoned) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { drive, news, asking: Mutex::default(), written, compared, abandoned }
    }

    fn asking(&self) -> MutexGuard<'_, AllAsking> {
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

    /// All is compared once more, in another way.
    pub(super) fn compare_anew(&self) {
        self.compared.store(0, Ordering::Relaxed);
        self.stage(Stage::ReadingBack);
    }

    /// All bytes written so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Runs `ask` while the watchdog knows what is asked.
    pub(super) fn during<T>(&self, what: &'static str, patience: Patience, ask: impl FnOnce() -> T) -> T {
        let _open = self.open(what, patience);
        ask()
    }

    fn open(&self, what: &'static str, patience: Patience) -> Open<'_> {
        let mut asking = self.asking();
        asking.asked += 1;
        let number = asking.asked;
        asking.open.push(Asking { number, what, since: Instant::now(), patience });
        Open { status: self, number }
    }

    /// When the drive must have answered what it is asked, if it is asked something; `once` is the time for a block.
    pub(super) fn deadline(&self, once: Duration) -> Option<Deadline> {
        let deadline = |asking: &Asking| {
            let patience = asking.patience.of(once);
            Deadline { at: asking.since + patience, what: asking.what, patience }
        };
        self.asking().open.iter().map(deadline).min_by_key(|deadline| deadline.at)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_first_of_several_questions_to_wait_too_long_counts() {
        let (send, _receive) = channel();
        let status = Status::new(0, send);
        let once = Duration::from_secs(10);
        assert!(status.deadline(once).is_none());
        status.during("finish writing", Patience::Twice, || {
            let flush = status.deadline(once).expect("asked");
            assert_eq!((flush.what, flush.patience), ("finish writing", once * 2));
            status.during("read back", Patience::Once, || assert_eq!(status.deadline(once).expect("asked").what, "read back"));
            assert_eq!(status.deadline(once).expect("still asked").at, flush.at);
        });
        assert!(status.deadline(once).is_none());
    }

    #[test]
    fn a_question_that_ends_in_a_panic_is_no_longer_asked() {
        let (send, _receive) = channel();
        let status = Status::new(0, send);
        let ask = || status.during("write", Patience::Once, || panic!("a mistake in imager, for this test"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).expect_err("it panics");
        assert!(status.deadline(Duration::ZERO).is_none());
    }
}
