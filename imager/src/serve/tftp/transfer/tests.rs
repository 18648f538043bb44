use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn terms(block: u16, window: u16) -> Terms {
    Terms { block, window, timeout: Duration::from_secs(1) }
}

fn ack(number: u16) -> Event {
    Event::Packet(Packet::Ack(number))
}

#[test]
fn a_file_goes_block_by_block() {
    let now = Instant::now();
    let (mut transfer, first) = Transfer::begin(now, terms(512, 1), 1000, false);
    assert_eq!(first, Action::SendBlocks(1..=1));
    assert_eq!(transfer.place(2), (512, 488));
    assert_eq!(transfer.on_event(now, ack(1)), Some(Action::SendBlocks(2..=2)));
    assert_eq!(transfer.delivered(), 512);
    assert_eq!(transfer.on_event(now, ack(2)), Some(Action::End(End::Complete)));
    assert_eq!(transfer.delivered(), 1000);
    assert_eq!(transfer.on_event(now, ack(2)), None);
}

#[test]
fn a_file_of_whole_blocks_ends_with_an_empty_one() {
    let now = Instant::now();
    let (mut transfer, _) = Transfer::begin(now, terms(512, 4), 1024, false);
    assert_eq!(transfer.place(3), (1024, 0));
    assert_eq!(transfer.on_event(now, ack(3)), Some(Action::End(End::Complete)));
    let (mut empty, first) = Transfer::begin(now, terms(512, 4), 0, false);
    assert_eq!((first, empty.place(1)), (Action::SendBlocks(1..=1), (0, 0)));
    assert_eq!(empty.on_event(now, ack(1)), Some(Action::End(End::Complete)));
}

#[test]
fn a_duplicate_acknowledgement_does_not_double_the_traffic() {
    let now = Instant::now();
    let (mut single, _) = Transfer::begin(now, terms(512, 1), 5000, false);
    assert_eq!(single.on_event(now, ack(1)), Some(Action::SendBlocks(2..=2)));
    assert_eq!(single.on_event(now, ack(1)), None);
    let (mut window, _) = Transfer::begin(now, terms(512, 4), 50_000, false);
    assert_eq!(window.on_event(now, ack(4)), Some(Action::SendBlocks(5..=8)));
    assert_eq!(window.on_event(now, ack(4)), Some(Action::SendBlocks(5..=8)), "the first of the window may be lost");
    assert_eq!(window.on_event(now, ack(4)), None);
    assert_eq!(window.on_event(now, ack(6)), Some(Action::SendBlocks(7..=10)), "a gap is filled from where it is");
    assert_eq!(window.on_event(now, ack(2)), None, "late");
    assert_eq!(window.on_event(now, ack(11)), None, "never sent");
}

#[test]
fn a_silent_client_is_given_up_after_bounded_time() {
    for (timeout, bound) in [(1, 60), (10, 75)] {
        let mut now = Instant::now();
        let began = now;
        let terms = Terms { timeout: Duration::from_secs(timeout), ..terms(512, 4) };
        let (mut transfer, _) = Transfer::begin(now, terms, 50_000, false);
        assert_eq!(transfer.on_event(now, Event::Timeout), None, "not yet due");
        let mut sent = 0;
        loop {
            now = transfer.deadline();
            match transfer.on_event(now, Event::Timeout) {
                Some(Action::SendBlocks(blocks)) => sent += usize::from(blocks == (1..=4)),
                other => break assert_eq!(other, Some(Action::End(End::Gone))),
            }
        }
        assert_eq!(sent, MOST_TRIES as usize);
        assert!(now - began < Duration::from_secs(bound), "{:?}", now - began);
    }
}

#[test]
fn a_client_that_only_asks_for_the_size_is_no_failure() {
    let now = Instant::now();
    for (code, expected) in [(8, End::Probed), (0, End::Probed), (3, End::Aborted(3))] {
        let (mut transfer, first) = Transfer::begin(now, terms(512, 1), 5000, true);
        assert_eq!(first, Action::SendOptions);
        assert_eq!(transfer.on_event(now, ack(1)), None, "nothing was sent yet");
        assert_eq!(transfer.on_event(now, Event::Packet(Packet::Error(code))), Some(Action::End(expected)));
    }
    let (mut transfer, _) = Transfer::begin(now, terms(512, 1), 5000, true);
    assert_eq!(transfer.on_event(now, ack(0)), Some(Action::SendBlocks(1..=1)));
    assert_eq!(transfer.on_event(now, Event::Packet(Packet::Error(0))), Some(Action::End(End::Aborted(0))));
}

#[test]
fn block_numbers_wrap_to_zero() {
    let now = Instant::now();
    let (mut transfer, _) = Transfer::begin(now, terms(8, 1), 8 * 70_000, false);
    for block in 1..=70_000u64 {
        let action = transfer.on_event(now, ack(block as u16));
        assert_eq!(action, Some(Action::SendBlocks(block + 1..=block + 1)), "block {block}");
    }
    assert_eq!(transfer.on_event(now, ack(70_001u64 as u16)), Some(Action::End(End::Complete)));
}

/// A client by RFC 1350 and RFC 7440: it takes blocks in order, acknowledges full windows, the end, and gaps.
struct Client {
    terms: Terms,
    file: Vec<u8>,
    next: u64,
    since_ack: u16,
    done: bool,
}

impl Client {
    fn on_block(&mut self, number: u16, content: &[u8]) -> Option<Packet> {
        if number != self.next as u16 {
            // Out of order: what it has up to now, so that the server begins there.
            self.since_ack = 0;
            return Some(Packet::Ack((self.next - 1) as u16));
        }
        self.file.extend(content);
        self.next += 1;
        self.since_ack += 1;
        self.done = content.len() < usize::from(self.terms.block);
        if self.since_ack == self.terms.window || self.done {
            self.since_ack = 0;
            return Some(Packet::Ack(number));
        }
        None
    }
}

/// What the network does with one packet.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Deliver,
    Lose,
    Twice,
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![12 => Just(Fate::Deliver), 2 => Just(Fate::Lose), 1 => Just(Fate::Twice), 1 => Just(Fate::Late)]
}

/// Puts a packet into a queue as its fate says.
fn put<T: Clone>(queue: &mut VecDeque<T>, packet: T, fate: Fate) {
    match fate {
        Fate::Deliver => queue.push_back(packet),
        Fate::Lose => {}
        Fate::Twice => queue.extend([packet.clone(), packet]),
        Fate::Late => {
            let at = queue.len().saturating_sub(2);
            queue.insert(at, packet);
        }
    }
}

proptest! {
    #[test]
    fn the_file_arrives_whole_whatever_the_network_does(
        bytes in 0..6000u64,
        block in prop_oneof![Just(8u16), Just(64), Just(512)],
        window in 1..9u16,
        fates in proptest::collection::vec(fate(), 1..4000),
    ) {
        let file: Vec<u8> = (0..bytes).map(|n| (n * 31 / 7) as u8).collect();
        let terms = terms(block, window);
        let mut fates = fates.into_iter().chain(std::iter::repeat(Fate::Deliver));
        let mut now = Instant::now();
        let (mut transfer, first) = Transfer::begin(now, terms, bytes, false);
        let mut client = Client { terms, file: Vec::new(), next: 1, since_ack: 0, done: false };
        let (mut to_client, mut to_server) = (VecDeque::new(), VecDeque::new());
        let mut action = Some(first);
        let mut blocks = 0u64;
        let end = loop {
            match action.take() {
                Some(Action::SendBlocks(range)) => {
                    prop_assert!(range.end() - range.start() < u64::from(window));
                    for number in range {
                        blocks += 1;
                        put(&mut to_client, number, fates.next().expect("endless"));
                    }
                }
                Some(Action::End(end)) => break end,
                Some(Action::SendOptions) => unreachable!("no options were asked for"),
                None => {}
            }
            if let Some(number) = to_client.pop_front() {
                let (offset, length) = transfer.place(number);
                let content = &file[offset as usize..offset as usize + length];
                // A client that has everything stays a while to repeat its last acknowledgement.
                let answer = if client.done { Some(Packet::Ack((client.next - 1) as u16)) } else { client.on_block(number as u16, content) };
                if let Some(answer) = answer {
                    put(&mut to_server, answer, fates.next().expect("endless"));
                }
            } else if to_server.is_empty() {
                now = transfer.deadline();
                action = transfer.on_event(now, Event::Timeout);
                continue;
            }
            if let Some(packet) = to_server.pop_front() {
                action = transfer.on_event(now, Event::Packet(packet));
            }
        };
        match end {
            End::Complete => prop_assert_eq!(&client.file, &file),
            End::Gone => prop_assert!(file.starts_with(&client.file)),
            End::Probed | End::Aborted(_) => prop_assert!(false, "the client never gave up"),
        }
        // Traffic is bounded by what was lost: no packet breeds packets for ever.
        let needed = bytes / u64::from(block) + 1;
        prop_assert!(blocks <= (needed + 4000) * u64::from(window) * 2, "{blocks} blocks for {needed}");
    }

    #[test]
    fn no_sequence_of_events_makes_it_panic(events in proptest::collection::vec((0..3u8, any::<u16>()), 0..300), window in 1..65u16) {
        let mut now = Instant::now();
        let (mut transfer, _) = Transfer::begin(now, terms(512, window), 100_000, true);
        for (kind, number) in events {
            let event = match kind {
                0 => Event::Packet(Packet::Ack(number)),
                1 => Event::Packet(Packet::Ack(number % 70)),
                _ => { now = transfer.deadline(); Event::Timeout }
            };
            transfer.on_event(now, event);
            prop_assert!(transfer.delivered() <= 100_000);
        }
    }
}
