//! What services print: cut into lines and kept in one bounded ring per service, for readers that come later and readers that stay.
//!
//! Nothing is written to disk and nobody is waited for: who reads too slowly is told how many lines were lost.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

/// Memory one ring may hold, its bookkeeping included.
const RING_BYTES: usize = 256 << 10;

/// A longer line is cut into lines of this many bytes.
const LINE_BYTES: usize = 4 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word the API serves.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub time: SystemTime,
    /// Where it came from.
    pub stream: Stream,
    /// Without its end, and without control characters.
    pub text: Box<str>,
}

impl Line {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the oldest line kept, counting every line ever printed from 0.
    first: u64,
}

/// The newest lines of one service. Clones share them.
#[derive(Debug, Clone)]
pub struct LogRing {
    kept: Arc<Mutex<Kept>>,
    /// Lines ever printed; wakes those who follow.
    count: Arc<watch::Sender<u64>>,
}

impl Default for LogRing {
    fn default() -> Self {
        Self { kept: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }
}

impl LogRing {
    /// Adds a line; the oldest make room.
    pub fn push(&self, stream: Stream, text: &str) {
        let line = Line { time: SystemTime::now(), stream, text: text.into() };
        let mut kept = self.lock();
        kept.bytes += line.cost();
        kept.lines.push_back(line);
        while kept.bytes > RING_BYTES {
            let oldest = kept.lines.pop_front().expect("bytes are counted for lines that are kept");
            kept.bytes -= oldest.cost();
            kept.first += 1;
        }
        self.count.send_replace(kept.first + kept.lines.len() as u64);
    }

    /// A reader that starts `tail` lines before the end; 0: at the oldest line kept.
    pub fn reader(&self, tail: usize) -> LogReader {
        let kept = self.lock();
        let skip = if tail == 0 { 0 } else { kept.lines.len().saturating_sub(tail) };
        LogReader { next: kept.first + skip as u64, ring: self.clone(), count: self.count.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic while pushing leaves at worst one line missing; the log must outlive it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a ring line by line.
#[derive(Debug)]
pub struct LogReader {
    ring: LogRing,
    next: u64,
    count: watch::Receiver<u64>,
}

impl LogReader {
    /// The next line that is there already, and how many were lost before it.
    pub fn try_next(&mut self) -> Option<(Line, u64)> {
        let kept = self.ring.lock();
        let dropped = kept.first.saturating_sub(self.next);
        let number = self.next.max(kept.first);
        let index = usize::try_from(number - kept.first).expect("a ring holds fewer lines than memory has bytes");
        let line = kept.lines.get(index)?.clone();
        self.next = number + 1;
        Some((line, dropped))
    }

    /// The next line; waits for it.
    pub async fn next(&mut self) -> (Line, u64) {
        loop {
            self.count.mark_unchanged();
            if let Some(found) = self.try_next() {
                return found;
            }
            // The sender lives in the ring that this reader holds, so waiting cannot fail.
            let _ = self.count.changed().await;
        }
    }
}

/// Reads a pipe to its end and puts its lines into the ring.
pub(super) async fn capture(pipe: OwnedFd, stream: Stream, ring: LogRing) -> io::Result<()> {
    let pipe = Receiver::from_owned_fd(pipe)?;
    let mut splitter = LineSplitter::default();
    let mut buffer = [0; 2048];
    loop {
        pipe.readable().await?;
        match pipe.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => splitter.feed(&buffer[..count], |line| ring.push(stream, line)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    splitter.finish(|line| ring.push(stream, line));
    Ok(())
}

/// Cuts bytes into lines, whatever chunks they come in.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes a chunk and hands out each line that is complete, or as long as a line may be.
    pub(super) fn feed(&mut self, chunk: &[u8], mut sink: impl FnMut(&str)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let room = LINE_BYTES - self.partial.len();
            let window = &rest[..rest.len().min(room)];
            let (taken, complete) = match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (window.len(), window.len() == room),
            };
            self.partial.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if complete {
                self.hand_out(&mut sink);
            }
        }
    }

    /// Hands out what came after the last line end.
    pub(super) fn finish(&mut self, mut sink: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.hand_out(&mut sink);
        }
    }

    fn hand_out(&mut self, sink: &mut impl FnMut(&str)) {
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if text.chars().any(is_unsafe) {
            sink(&text.replace(is_unsafe, "\u{fffd}"));
        } else {
            sink(&text);
        }
        // A burst of long lines must not hold its memory for ever.
        self.partial = Vec::new();
    }
}

/// Control characters can drive the terminal of whoever reads the log.
fn is_unsafe(character: char) -> bool {
    character.is_control() && character != '\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |line| lines.push(line.to_owned()));
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        let cases: &[(&[&[u8]], &[&str])] = &[
            (&[b"one\ntwo\n"], &["one", "two"]),
            (&[b"on", b"e\nt", b"wo"], &["one", "two"]),
            (&[b"dos\r\n\nx"], &["dos", "", "x"]),
            (&[b"bad \xff byte\n"], &["bad \u{fffd} byte"]),
            (&[b"\x1b[31mred\tx\n"], &["\u{fffd}[31mred\tx"]),
            (&[b""], &[]),
        ];
        for (chunks, expected) in cases {
            assert_eq!(split(chunks), *expected, "{chunks:?}");
        }
    }

    #[test]
    fn an_endless_line_comes_in_pieces() {
        let lines = split(&[&[b'x'; LINE_BYTES + 7], b"\n"]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES, 7]);
    }

    proptest! {
        #[test]
        fn no_byte_sequence_breaks_the_splitter(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..4)) {
            let whole: Vec<u8> = chunks.concat();
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(split(&chunks), split(&[&whole]));
        }
    }

    #[test]
    fn a_slow_reader_learns_how_many_lines_it_lost() {
        let ring = LogRing::default();
        let mut reader = ring.reader(0);
        let long = "x".repeat(LINE_BYTES);
        for _ in 0..100 {
            ring.push(Stream::Stdout, &long);
        }
        let kept = ring.lock().lines.len() as u64;
        assert!(ring.lock().bytes <= RING_BYTES);
        assert_eq!(reader.try_next().map(|(_, dropped)| dropped), Some(100 - kept));
        assert_eq!(reader.try_next().map(|(_, dropped)| dropped), Some(0));
    }

    #[tokio::test]
    async fn a_follower_gets_the_tail_and_then_what_comes() {
        let ring = LogRing::default();
        for text in ["a", "b", "c"] {
            ring.push(Stream::Stderr, text);
        }
        let mut reader = ring.reader(1);
        assert_eq!(&*reader.next().await.0.text, "c");
        let waiting = tokio::spawn(async move { reader.next().await.0.text });
        tokio::task::yield_now().await;
        ring.push(Stream::Stdout, "d");
        assert_eq!(&*waiting.await.expect("the reader ends"), "d");
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_its_end() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        rustix::io::write(&write, b"hello\nworld").expect("there is room");
        drop(write);
        let ring = LogRing::default();
        rustix::io::ioctl_fionbio(&read, true).expect("a pipe can be made non-blocking");
        capture(read, Stream::Stdout, ring.clone()).await.expect("it is a pipe");
        let mut reader = ring.reader(0);
        let lines: Vec<_> = std::iter::from_fn(|| reader.try_next()).map(|(line, _)| line.text).collect();
        assert_eq!(lines, ["hello".into(), "world".into()]);
    }
}
