//! One file on its way over TFTP: a machine without sockets or clock. Events and the time go in, actions come out; [`Transfer::deadline`] says when
//! to call again without an event.
//!
//! Blocks are counted from 1 without end; on the wire their numbers wrap to 0 after 65535, so files are of any size. An acknowledgement that was sent
//! twice is answered once at most: answering each would double the traffic for ever (the sorcerer's apprentice, RFC 1123 4.2.3.1).

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::packet::{Packet, Terms};

/// How often a window is sent again before the client counts as gone.
const MOST_TRIES: u32 = 6;
/// A wait grows with each try, up to this.
const MOST_WAIT: Duration = Duration::from_secs(8);
/// TFTP's code for a client that does not want the options: firmware that only asks for the size ends so.
const OPTIONS_REFUSED: u16 = 8;

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The client sent this.
    Packet(Packet),
    /// The deadline passed.
    Timeout,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client has the whole file.
    Complete,
    /// The client learned what it wanted from the options alone.
    Probed,
    /// The client gave up, with this code.
    Aborted(u16),
    /// The client is silent.
    Gone,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the acknowledgement of options.
    SendOptions,
    /// Send these blocks.
    SendBlocks(RangeInclusive<u64>),
    /// Stop.
    End(End),
}

/// What the client has said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Options were sent; it has not agreed.
    Options,
    /// Blocks are under way.
    Blocks,
    /// It is over.
    Over,
}

/// A file on its way.
#[derive(Debug, Clone)]
pub struct Transfer {
    terms: Terms,
    bytes: u64,
    stage: Stage,
    /// Blocks the client has.
    acked: u64,
    /// Blocks sent.
    sent: u64,
    tries: u32,
    deadline: Instant,
    /// Whether this window was sent again because of an acknowledgement that came twice.
    repeated: bool,
}

impl Transfer {
    /// A file of `bytes` to be sent on these terms; `options`: whether some are acknowledged first. Returns what to do at once.
    pub fn begin(now: Instant, terms: Terms, bytes: u64, options: bool) -> (Self, Action) {
        let stage = if options { Stage::Options } else { Stage::Blocks };
        let mut transfer =
            Self { terms, bytes, stage, acked: 0, sent: 0, tries: 0, deadline: now + terms.timeout, repeated: false };
        let action = transfer.send(now);
        (transfer, action)
    }

    /// When to come back if nothing happens.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Bytes that the client has for certain.
    pub fn delivered(&self) -> u64 {
        (self.acked * self.block()).min(self.bytes)
    }

    fn block(&self) -> u64 {
        self.terms.block.into()
    }

    /// The last block's number. It is shorter than the others, and empty when the file fills whole blocks.
    fn last(&self) -> u64 {
        self.bytes / self.block() + 1
    }

    /// Where a block's content is.
    pub fn place(&self, number: u64) -> (u64, usize) {
        let offset = (number - 1) * self.block();
        let length = self.bytes.saturating_sub(offset).min(self.block());
        (offset, usize::try_from(length).expect("a block has less than 64 KiB"))
    }

    /// What to do about an event.
    pub fn on_event(&mut self, now: Instant, event: Event) -> Option<Action> {
        match (self.stage, event) {
            (Stage::Over, _) => None,
            (_, Event::Timeout) => self.time_out(now),
            (Stage::Options, Event::Packet(Packet::Error(OPTIONS_REFUSED))) => Some(self.end(End::Probed)),
            // Firmware asks for the size and ends with whatever code it likes.
            (Stage::Options, Event::Packet(Packet::Error(0))) => Some(self.end(End::Probed)),
            (_, Event::Packet(Packet::Error(code))) => Some(self.end(End::Aborted(code))),
            (Stage::Options, Event::Packet(Packet::Ack(0))) => {
                self.stage = Stage::Blocks;
                Some(self.progress(now))
            }
            (Stage::Options, Event::Packet(Packet::Ack(_))) => None,
            (Stage::Blocks, Event::Packet(Packet::Ack(number))) => self.acknowledge(now, number),
        }
    }

    fn acknowledge(&mut self, now: Instant, number: u16) -> Option<Action> {
        // The number's distance from what is acknowledged; what lies beyond what was sent is an old one come late.
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        let block = self.acked + ahead;
        match ahead {
            0 => self.repeat(now),
            _ if block > self.sent => None,
            _ if block == self.last() => {
                self.acked = block;
                Some(self.end(End::Complete))
            }
            _ => {
                self.acked = block;
                Some(self.progress(now))
            }
        }
    }

    /// An acknowledgement twice: with windows it tells of a lost first block (RFC 7440); without, it is only late.
    fn repeat(&mut self, now: Instant) -> Option<Action> {
        if self.terms.window == 1 || self.repeated {
            return None;
        }
        self.repeated = true;
        Some(self.send(now))
    }

    fn progress(&mut self, now: Instant) -> Action {
        self.tries = 0;
        self.repeated = false;
        self.send(now)
    }

    fn time_out(&mut self, now: Instant) -> Option<Action> {
        if now < self.deadline {
            return None;
        }
        if self.tries == MOST_TRIES {
            return Some(self.end(End::Gone));
        }
        self.tries += 1;
        Some(self.send(now))
    }

    fn send(&mut self, now: Instant) -> Action {
        self.deadline = now + (self.terms.timeout * 2u32.pow(self.tries.min(MOST_TRIES))).min(MOST_WAIT.max(self.terms.timeout));
        match self.stage {
            Stage::Options => Action::SendOptions,
            Stage::Blocks | Stage::Over => {
                self.sent = (self.acked + u64::from(self.terms.window)).min(self.last());
                Action::SendBlocks(self.acked + 1..=self.sent)
            }
        }
    }

    fn end(&mut self, end: End) -> Action {
        self.stage = Stage::Over;
        Action::End(end)
    }
}

#[cfg(test)]
mod tests;
