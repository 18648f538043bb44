//! Many drives at once: one reader per image, one thread per drive, one watchdog over all. What is done to a drive stands in `drive`.
//!
//! Threads are not joined: one that waits for a drive which never answers must not hold up the others. It ends with the program, as soon as
//! the kernel gives up the drive.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::buffer::Pool;
use super::drive::{self, Work};
use super::feed::{self, Feed, Lane};
use super::image::Image;
use super::outcome::{Failure, Outcome, Reason, guarded};
use super::pieces::pieces;
use super::plan::Job;
use super::proof::{Measure, Proof};
use super::source::{Claims, Piece, Reader};
use super::status::{Deadline, Ended, News, Patience, Stage, Status};
use super::stop::{self, Hurry, Stop};
use super::target::{Discard, Drives};

/// How long a drive may take for one answer, and for emptying its cache twice as long. So long the kernel tries by itself before it reports an error: a
/// block six times for 30 seconds, emptying a cache six times for 60. A shorter time would give up drives that the kernel still talks to.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Pieces of all images that may wait to be hashed before readers wait too.
const HASH_LAG: usize = 64;
/// Of one image: at least so many, and no more than so many.
const HASH_LAG_OF_ONE: (usize, usize) = (4, 32);

/// How to go about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether blocks may be dropped to clear them.
    pub discard: Discard,
    /// How long a drive may take for one answer.
    pub patience: Duration,
    /// Makes the capacity probes of this run unlike those of any other.
    pub nonce: [u8; 16],
    /// Ends the run before it is done.
    pub stop: Stop,
}

/// What happened to one drive.
#[derive(Debug)]
pub enum Event<'a> {
    /// It went on to another stage.
    Stage(Stage),
    /// So many bytes of the image are done in this stage.
    Advance(u64),
    /// Something a person should know; the work goes on.
    Note(&'a str),
    /// It is over.
    Ended(&'a Outcome),
}

/// Takes what happens, on the thread that called [`run`].
pub trait Watcher {
    /// Something happened to the drive of job `drive`.
    fn event(&mut self, drive: usize, event: Event<'_>);

    /// Somebody asked the run to end, and it does.
    fn stopping(&mut self, hurry: Hurry);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn event(&mut self, _: usize, _: Event<'_>) {}

    fn stopping(&mut self, _: Hurry) {}
}

/// One image and all that its drives share.
struct Group {
    image: Arc<Image>,
    pieces: Vec<Range<u64>>,
    feed: Arc<Feed>,
    proof: Proof,
    pool: Pool,
    stop: Stop,
}

/// One drive under way.
struct Running {
    job: Arc<Job>,
    group: Arc<Group>,
    /// Its number among the drives of its image.
    lane: usize,
    status: Arc<Status>,
    started: Timestamp,
    outcome: Option<Outcome>,
}

/// Flashes all drives at once and returns what came of each, in the order of the jobs.
pub fn run(jobs: Vec<Job>, drives: &Arc<dyn Drives>, options: &Options, watcher: &mut dyn Watcher) -> Vec<Outcome> {
    let (send, receive) = channel();
    let groups = groups(&jobs, &options.stop);
    let mut running: Vec<Running> = Vec::new();
    for (index, job) in jobs.into_iter().enumerate() {
        let group = group_of(&groups, &job.image);
        let lane = running.iter().filter(|other| Arc::ptr_eq(&other.group, group)).count();
        let status = Arc::new(Status::new(index, send.clone()));
        let (job, group, started) = (Arc::new(job), Arc::clone(group), Timestamp::now());
        running.push(Running { job, group, lane, status, started, outcome: None });
    }
    options.stop.listen(Box::new(move || {
        send.send((0, News::Stopping)).ok(); // the run may be over
    }));
    for one in &running {
        start_drive(one, drives, options);
    }
    for group in &groups {
        let (group, lag) = (Arc::clone(group), hash_lag(groups.len()));
        thread::spawn(move || read_all(&group, lag));
    }
    supervise(&mut running, &receive, options, watcher);
    running.into_iter().filter_map(|one| one.outcome).collect()
}

fn group_of<'a>(groups: &'a [Arc<Group>], image: &Arc<Image>) -> &'a Arc<Group> {
    groups.iter().find(|group| Arc::ptr_eq(&group.image, image)).expect("each job's image has its group")
}

fn groups(jobs: &[Job], stop: &Stop) -> Vec<Arc<Group>> {
    let pool = Pool::default();
    let mut images: Vec<&Arc<Image>> = Vec::new();
    for job in jobs {
        if !images.iter().any(|image| Arc::ptr_eq(image, &job.image)) {
            images.push(&job.image);
        }
    }
    let group = |image: &Arc<Image>| {
        let drives = jobs.iter().filter(|job| Arc::ptr_eq(&job.image, image)).count();
        let (image, pieces) = (Arc::clone(image), pieces(&image.written));
        let feed = Arc::new(Feed::new(drives));
        Arc::new(Group { image, pieces, feed, proof: Proof::default(), pool: pool.clone(), stop: stop.clone() })
    };
    images.into_iter().map(group).collect()
}

fn hash_lag(images: usize) -> usize {
    let (least, most) = HASH_LAG_OF_ONE;
    (HASH_LAG / images).clamp(least, most)
}

/// Reads the image once, for all its drives.
fn read_all(group: &Group, hash_lag: usize) {
    group.proof.judge(guarded(|| read_image(group, hash_lag)));
    group.feed.end();
}

/// Hashing has a thread of its own: zeros between pieces take as long to hash as data, and no drive should wait for them.
fn read_image(group: &Group, hash_lag: usize) -> Result<(), Failure> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<Piece>(hash_lag);
        let hash = scope.spawn(move || {
            let mut measure = Measure::new(&group.proof, &group.pieces, group.image.bytes);
            receive.iter().for_each(|piece| measure.take(&piece.bytes));
            measure
        });
        let claims = read_pieces(group, &send);
        drop(send);
        let measure = hash.join().expect("hashing cannot fail");
        claims?.finish(measure.finish())
    })
}

fn read_pieces<'a>(group: &'a Group, hash: &SyncSender<Piece>) -> Result<Claims<'a>, Failure> {
    let mut reader = Reader::open(&group.image, &group.pieces, &group.pool, 0)?;
    let mut claims = Claims::new(&group.image);
    let mut left = group.pieces.len();
    while let Some(piece) = reader.next()? {
        group.stop.check()?;
        group.feed.push(&piece);
        left -= 1;
        if left == 0 {
            group.feed.end(); // what is left to judge of the image, drives need not wait for
        }
        claims.take(&piece)?;
        hash.send(piece).expect("the other end hashes until this one is closed");
    }
    reader.check_end()?;
    Ok(claims)
}

fn start_drive(one: &Running, drives: &Arc<dyn Drives>, options: &Options) {
    let (job, group, status) = (Arc::clone(&one.job), Arc::clone(&one.group), Arc::clone(&one.status));
    let (drives, options) = (Arc::clone(drives), options.clone());
    let lane = Lane::new(&group.feed, one.lane);
    thread::spawn(move || {
        let work = Work {
            job: &job,
            pieces: &group.pieces,
            lane,
            proof: &group.proof,
            pool: &group.pool,
            status: &status,
            discard: options.discard,
            nonce: options.nonce,
            stop: &options.stop,
        };
        let mut readback = None;
        let result = guarded(|| {
            options.stop.check().map_err(|_| stop::untouched())?;
            let mut target = status.during("open", Patience::Once, || drives.open(&job))?;
            if let Some(note) = target.note() {
                status.tell(News::Note(note));
            }
            let (digest, result) = drive::run(&work, &mut *target);
            readback = digest;
            result
        });
        status.tell(News::Ended(Ended { readback, result }));
    });
}

/// Waits for all drives, and gives up those that do not answer.
fn supervise(running: &mut [Running], news: &Receiver<(usize, News)>, options: &Options, watcher: &mut dyn Watcher) {
    while running.iter().any(|one| one.outcome.is_none()) {
        match news.recv_timeout(wait(running, options.patience)) {
            Ok((_, News::Stopping)) => watcher.stopping(options.stop.hurry()),
            Ok((index, news)) => tell(&mut running[index], index, news, watcher),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the statuses hold the other end"),
        }
        let now = Instant::now();
        for (index, one) in running.iter_mut().enumerate().filter(|(_, one)| one.outcome.is_none()) {
            let late = one.status.deadline(options.patience).filter(|deadline| deadline.at <= now);
            let failure = match (late, options.stop.hurry()) {
                (Some(deadline), _) => unanswered(&deadline),
                (None, Hurry::Now) => stop::given_up(),
                (None, Hurry::No | Hurry::NextBlock) => continue,
            };
            one.status.abandon();
            feed::leave(&one.group.feed, one.lane);
            end(one, index, Ended { readback: None, result: Err(failure) }, watcher);
        }
    }
}

fn unanswered(deadline: &Deadline) -> Failure {
    let (seconds, what) = (deadline.patience.as_secs(), deadline.what);
    let text =
        format!("it did not answer for {seconds} s when asked to {what}; unplug it, and throw it away if it does so again");
    Failure::new(Reason::Timeout, text)
}

/// Until when there is nothing to look at. A drive that is asked something right after this is given up at most half as late again.
fn wait(running: &[Running], patience: Duration) -> Duration {
    let now = Instant::now();
    let waiting = running.iter().filter(|one| one.outcome.is_none());
    let first =
        waiting.filter_map(|one| one.status.deadline(patience)).map(|deadline| deadline.at.saturating_duration_since(now)).min();
    first.unwrap_or(patience).min(patience / 2)
}

fn tell(one: &mut Running, index: usize, news: News, watcher: &mut dyn Watcher) {
    if one.outcome.is_some() {
        return; // it was given up; what it says now changes nothing
    }
    match news {
        News::Stage(stage) => watcher.event(index, Event::Stage(stage)),
        News::Done(bytes) => watcher.event(index, Event::Advance(bytes)),
        News::Note(note) => watcher.event(index, Event::Note(&note)),
        News::Ended(ended) => end(one, index, ended, watcher),
        News::Stopping => {} // it is no drive's news
    }
}

fn end(one: &mut Running, index: usize, ended: Ended, watcher: &mut dyn Watcher) {
    let job = &one.job;
    let outcome = Outcome {
        device: job.facts.named.clone(),
        drive: job.drive.clone(),
        image: job.image.path.clone(),
        device_name: job.image.device_name().map(str::to_owned),
        image_sha256: one.group.proof.digest(),
        readback_sha256: ended.readback,
        started: one.started,
        ended: Timestamp::now(),
        bytes_written: one.status.bytes_written(),
        result: ended.result,
    };
    watcher.event(index, Event::Ended(one.outcome.insert(outcome)));
}

/// What a refused drive's outcome is.
pub fn refused(refused: &super::plan::Refused, now: Timestamp) -> Outcome {
    Outcome {
        device: refused.facts.named.clone(),
        drive: super::plan::drive_of(&refused.facts),
        image: refused.image.path.clone(),
        device_name: refused.image.device_name().map(str::to_owned),
        image_sha256: None,
        readback_sha256: None,
        started: now,
        ended: now,
        bytes_written: 0,
        result: Err(Failure::new(Reason::Refused, refused.refusal.to_string())),
    }
}

#[cfg(test)]
mod tests;
