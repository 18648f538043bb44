//! One reader, many drives: who has got which piece. A state machine without locks or clocks; `feed` puts it between threads.
//!
//! The reader stays a few pieces ahead of the fastest drive and no further. A drive that falls [`LAG`] pieces behind it leaves the common stream: it
//! keeps what is queued for it and then reads the rest of the image by itself. So a slow drive costs the others nothing but its own reading, and the
//! memory in use has a bound.

use std::collections::VecDeque;

/// How many pieces wait for the fastest drive at most.
pub const AHEAD: usize = 4;
/// How many more may wait for a slower one before it is on its own.
pub const LAG: usize = 10;

/// One drive's queue.
#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<T>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Gets what the reader reads.
    Attached,
    /// Reads by itself from this piece on.
    OnItsOwn { from: usize },
    /// Wants nothing any more.
    Gone,
}

/// What a drive gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// A piece.
    Piece(T),
    /// Nothing yet.
    Wait,
    /// It is on its own from the piece of this number on.
    OnItsOwn(usize),
    /// There is no more.
    End,
}

/// All drives of one image.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    pushed: usize,
    ended: bool,
}

impl<T: Clone> Lanes<T> {
    /// For so many drives.
    pub fn new(drives: usize) -> Self {
        let lane = || Lane { queue: VecDeque::new(), state: State::Attached };
        Self { lanes: std::iter::repeat_with(lane).take(drives).collect(), pushed: 0, ended: false }
    }

    /// Whether the reader may push another piece: not while the fastest drive still has enough.
    pub fn has_room(&self) -> bool {
        let fastest = self.attached().map(|lane| lane.queue.len()).min();
        fastest.is_none_or(|waiting| waiting < AHEAD)
    }

    fn attached(&self) -> impl Iterator<Item = &Lane<T>> {
        self.lanes.iter().filter(|lane| lane.state == State::Attached)
    }

    /// The next piece, for all that still follow. Those too far behind are on their own from here on.
    pub fn push(&mut self, piece: &T) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.state == State::Attached) {
            if lane.queue.len() >= AHEAD + LAG {
                lane.state = State::OnItsOwn { from: self.pushed };
            } else {
                lane.queue.push_back(piece.clone());
            }
        }
        self.pushed += 1;
    }

    /// There are no more pieces.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What drive `index` does next.
    pub fn next(&mut self, index: usize) -> Next<T> {
        let lane = &mut self.lanes[index];
        match (lane.queue.pop_front(), lane.state) {
            (Some(piece), _) => Next::Piece(piece),
            (None, State::OnItsOwn { from }) => Next::OnItsOwn(from),
            (None, State::Gone) => Next::End,
            (None, State::Attached) if self.ended => Next::End,
            (None, State::Attached) => Next::Wait,
        }
    }

    /// Drive `index` has failed or is done; nothing waits for it any more.
    pub fn leave(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        lane.queue.clear();
        lane.state = State::Gone;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fastest_drive_sets_the_pace_and_the_slowest_goes_on_alone() {
        let mut lanes = Lanes::new(2);
        let mut pushed = 0;
        while !matches!(lanes.lanes[1].state, State::OnItsOwn { .. }) {
            while lanes.has_room() {
                lanes.push(&pushed);
                pushed += 1;
            }
            assert!(matches!(lanes.next(0), Next::Piece(_)));
            assert!(lanes.lanes[1].queue.len() <= AHEAD + LAG);
        }
        assert_eq!(lanes.lanes[1].state, State::OnItsOwn { from: AHEAD + LAG });
        for expected in 0..AHEAD + LAG {
            assert_eq!(lanes.next(1), Next::Piece(expected));
        }
        assert_eq!(lanes.next(1), Next::OnItsOwn(AHEAD + LAG));
    }

    #[test]
    fn nobody_waits_for_a_drive_that_left() {
        let mut lanes = Lanes::new(2);
        (0..AHEAD).for_each(|piece| lanes.push(&piece));
        assert!(!lanes.has_room());
        lanes.leave(0);
        assert!(!lanes.has_room(), "the other one still has enough");
        lanes.leave(1);
        assert!(lanes.has_room());
        assert_eq!(lanes.next(0), Next::End);
    }

    proptest! {
        /// Whatever the order in which reader and drives get their turns, each drive sees every piece once and in order.
        #[test]
        fn every_drive_gets_every_piece_in_order(turns in proptest::collection::vec(0usize..5, 0..400)) {
            const PIECES: usize = 60;
            let mut lanes = Lanes::new(4);
            let mut pushed = 0;
            let mut seen = [const { Vec::new() }; 4];
            let everybody = (0..PIECES * 8).map(|turn| turn % 5);
            for turn in turns.into_iter().chain(everybody) {
                match turn {
                    4 if pushed < PIECES && lanes.has_room() => {
                        lanes.push(&pushed);
                        pushed += 1;
                    }
                    4 if pushed == PIECES => lanes.end(),
                    4 => {}
                    drive => match lanes.next(drive) {
                        Next::Piece(piece) => seen[drive].push(piece),
                        Next::OnItsOwn(from) if seen[drive].len() < PIECES => {
                            prop_assert_eq!(from, seen[drive].len());
                            seen[drive].extend(from..PIECES);
                        }
                        Next::OnItsOwn(_) | Next::Wait | Next::End => {}
                    },
                }
            }
            for drive in seen {
                prop_assert_eq!(drive, (0..PIECES).collect::<Vec<_>>());
            }
        }
    }
}
