//! The client against servers that answer late, refuse, contradict themselves or say nothing.

use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// A machine, a clock, and the server's side of the wire.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(now, Settings { mac: MAC, hostname: Some("store".into()), seed: 7 }), now }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.machine.on_event(self.now, event)
    }

    /// Advances to the deadline and fires the timer.
    fn wait(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.machine.deadline().expect("something is awaited");
        let waited = deadline.saturating_duration_since(self.now);
        self.now = self.now.max(deadline);
        (waited, self.on(Event::Timer))
    }

    fn reply(&self, kind: MessageType, seconds: u32) -> Message {
        let mut options = Options::default();
        options.set(Code::MessageType, &[kind.to_wire()]);
        options.set(Code::ServerId, &SERVER.octets());
        options.set(Code::LeaseTime, &seconds.to_be_bytes());
        options.set(Code::SubnetMask, &[255, 255, 255, 0]);
        let ciaddr = Ipv4Addr::UNSPECIFIED;
        Message { xid: self.machine.xid, secs: 0, ciaddr, yiaddr: ADDRESS, chaddr: MAC, options }
    }

    fn answer(&mut self, kind: MessageType) -> Vec<Action> {
        self.on(Event::Received(self.reply(kind, 1000)))
    }

    fn bound() -> Self {
        let mut bench = Self::new();
        bench.on(Event::CarrierUp);
        bench.answer(MessageType::Offer);
        assert!(matches!(bench.answer(MessageType::Ack)[..], [Action::Bind(_)]));
        bench
    }
}

fn sent(actions: &[Action]) -> (Path, Message) {
    match actions {
        [.., Action::Send { path, message }] => (*path, message.clone()),
        other => panic!("expected a message, got {other:?}"),
    }
}

#[test]
fn discover_request_bind() {
    let mut bench = Bench::new();
    assert_eq!((bench.machine.deadline(), bench.machine.listens()), (None, None));

    let (path, discover) = sent(&bench.on(Event::CarrierUp));
    assert_eq!((path, discover.kind()), (Path::Broadcast, Some(MessageType::Discover)));
    assert_eq!(discover.options.get(Code::HostName), Some(&b"store"[..]));
    assert_eq!(discover.options.get(Code::ClientId), Some(&[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56][..]));

    let (path, request) = sent(&bench.answer(MessageType::Offer));
    assert_eq!((path, request.kind(), request.xid), (Path::Broadcast, Some(MessageType::Request), discover.xid));
    assert_eq!(request.options.get(Code::RequestedAddress), Some(&ADDRESS.octets()[..]));
    assert_eq!(request.options.get(Code::ServerId), Some(&SERVER.octets()[..]));

    let actions = bench.answer(MessageType::Ack);
    assert!(matches!(&actions[..], [Action::Bind(lease)] if lease.address.to_string() == "10.0.2.15/24"));
    assert_eq!(bench.machine.listens(), None, "nothing is open while the lease is good");
    assert_eq!(bench.machine.deadline(), Some(bench.now + Duration::from_secs(500)));
}

#[test]
fn a_silent_network_is_asked_for_ever_ever_more_slowly() {
    let mut bench = Bench::new();
    bench.on(Event::CarrierUp);
    let waits: Vec<f64> = (0..12)
        .map(|_| {
            let (waited, actions) = bench.wait();
            assert_eq!(sent(&actions).1.kind(), Some(MessageType::Discover));
            waited.as_secs_f64()
        })
        .collect();
    for (wait, base) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0]) {
        assert!((base * 0.87..=base * 1.13).contains(wait), "{waits:?}");
    }
}

#[test]
fn a_server_that_offers_and_falls_silent_is_given_up() {
    let mut bench = Bench::new();
    bench.on(Event::CarrierUp);
    bench.answer(MessageType::Offer);
    for _ in 1..REQUEST_TRIES {
        assert_eq!(sent(&bench.wait().1).1.kind(), Some(MessageType::Request));
    }
    assert_eq!(sent(&bench.wait().1).1.kind(), Some(MessageType::Discover));
}

#[test]
fn answers_for_others_are_not_taken() {
    let mut bench = Bench::new();
    bench.on(Event::CarrierUp);
    let good = bench.reply(MessageType::Offer, 1000);
    let other_xid = Message { xid: good.xid ^ 1, ..good.clone() };
    let other_mac = Message { chaddr: [2; 6], ..good.clone() };
    let no_address = Message { yiaddr: Ipv4Addr::UNSPECIFIED, ..good.clone() };
    for message in [other_xid, other_mac, no_address] {
        assert_eq!(bench.on(Event::Received(message)), []);
    }
    bench.on(Event::Received(good));
    let mut ack = bench.reply(MessageType::Ack, 1000);
    ack.options.set(Code::ServerId, &[10, 0, 2, 99]);
    assert_eq!(bench.on(Event::Received(ack)), [], "another server than the one chosen");
}

#[test]
fn refusals_start_over_at_once_and_then_more_slowly() {
    let mut bench = Bench::new();
    bench.on(Event::CarrierUp);
    bench.answer(MessageType::Offer);
    assert_eq!(sent(&bench.answer(MessageType::Nak)).1.kind(), Some(MessageType::Discover));
    for least in [3, 6, 13] {
        bench.answer(MessageType::Offer);
        assert_eq!(bench.answer(MessageType::Nak), []);
        let (waited, actions) = bench.wait();
        assert!(waited >= Duration::from_secs(least), "{waited:?}");
        assert_eq!(sent(&actions).1.kind(), Some(MessageType::Discover));
    }
}

#[test]
fn a_lease_is_renewed_with_its_server_then_with_any_then_lost() {
    let mut bench = Bench::bound();
    let (waited, actions) = bench.wait();
    let (path, message) = sent(&actions);
    assert_eq!(waited, Duration::from_secs(500));
    assert_eq!(path, Path::Unicast { from: ADDRESS, to: SERVER });
    assert_eq!(message.ciaddr, ADDRESS);
    assert_eq!((message.options.get(Code::ServerId), message.options.get(Code::RequestedAddress)), (None, None));

    let mut actions = actions;
    let mut broadcasts = 0;
    let start = bench.now;
    while !actions.contains(&Action::Withdraw(Withdrawal::Expired)) {
        broadcasts += usize::from(sent(&actions).0 == Path::Broadcast);
        actions = bench.wait().1;
    }
    assert_eq!(bench.now - start, Duration::from_secs(500), "withdrawn when it expires, not later");
    assert_eq!(broadcasts, 3, "rebinding begins after 875 seconds and asks about once a minute");
    assert_eq!(sent(&actions).1.kind(), Some(MessageType::Discover));
}

#[test]
fn a_renewed_lease_lasts_anew() {
    let mut bench = Bench::bound();
    bench.wait();
    assert!(matches!(bench.answer(MessageType::Ack)[..], [Action::Bind(_)]));
    assert_eq!(bench.machine.deadline(), Some(bench.now + Duration::from_secs(500)));
}

#[test]
fn a_refused_renewal_withdraws_the_address_at_once() {
    let mut bench = Bench::bound();
    bench.wait();
    let actions = bench.answer(MessageType::Nak);
    assert_eq!(actions[0], Action::Withdraw(Withdrawal::Refused));
    assert_eq!(sent(&actions).1.kind(), Some(MessageType::Discover));
}

#[test]
fn a_pulled_cable_keeps_the_lease_and_asks_when_it_is_back() {
    let mut bench = Bench::bound();
    assert_eq!(bench.on(Event::CarrierLost), []);
    assert_eq!(bench.machine.listens(), None);
    let (_, request) = sent(&bench.on(Event::CarrierUp));
    assert_eq!(request.kind(), Some(MessageType::Request));
    assert_eq!(request.options.get(Code::RequestedAddress), Some(&ADDRESS.octets()[..]));
    assert_eq!(request.options.get(Code::ServerId), None);
    assert!(matches!(bench.answer(MessageType::Ack)[..], [Action::Bind(_)]));
}

#[test]
fn a_cable_put_into_another_network_finds_its_server() {
    let mut bench = Bench::bound();
    bench.on(Event::CarrierLost);
    bench.on(Event::CarrierUp);
    bench.wait();
    assert_eq!(sent(&bench.wait().1).1.kind(), Some(MessageType::Discover), "after two unanswered requests");
    bench.answer(MessageType::Offer);
    let mut ack = bench.reply(MessageType::Ack, 1000);
    ack.yiaddr = Ipv4Addr::new(192, 168, 7, 7);
    assert!(matches!(&bench.on(Event::Received(ack))[..], [Action::Bind(lease)] if lease.address.addr().octets()[0] == 192));
}

#[test]
fn a_lease_expires_without_a_carrier_too() {
    let mut bench = Bench::bound();
    bench.on(Event::CarrierLost);
    let (waited, actions) = bench.wait();
    assert_eq!((waited, actions), (Duration::from_secs(1000), vec![Action::Withdraw(Withdrawal::Expired)]));
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_lease_for_ever_sets_no_timer() {
    let mut bench = Bench::new();
    bench.on(Event::CarrierUp);
    bench.answer(MessageType::Offer);
    bench.on(Event::Received(bench.reply(MessageType::Ack, u32::MAX)));
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_new_name_is_told_by_an_early_renewal() {
    let mut bench = Bench::bound();
    assert_eq!(bench.on(Event::Renamed(Some("store".into()))), [], "the same name");
    let (path, message) = sent(&bench.on(Event::Renamed(Some("till-3".into()))));
    assert_eq!(path, Path::Unicast { from: ADDRESS, to: SERVER });
    assert_eq!(message.options.get(Code::HostName), Some(&b"till-3"[..]));
    assert!(matches!(bench.answer(MessageType::Ack)[..], [Action::Bind(_)]));
}

#[derive(Debug, Clone)]
enum Step {
    Up,
    Lost,
    Timer,
    Rename(u8),
    Early(u64),
    Reply(MessageType, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(MessageType::Offer), Just(MessageType::Ack), Just(MessageType::Nak), Just(MessageType::Discover)];
    prop_oneof![
        1 => Just(Step::Up),
        1 => Just(Step::Lost),
        4 => Just(Step::Timer),
        1 => (0..3_u8).prop_map(Step::Rename),
        1 => (0..100_u64).prop_map(Step::Early),
        6 => (kind, prop_oneof![Just(0), Just(10), 1..5000_u32, Just(u32::MAX)]).prop_map(|(kind, time)| Step::Reply(kind, time)),
    ]
}

proptest! {
    /// Whatever happens: no message without a carrier, no lease past its end, no timer that fires without moving on,
    /// and with a carrier and no lease the next try is never more than 72 seconds away.
    #[test]
    fn the_machine_keeps_its_promises(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let (mut carrier, mut lease_until) = (false, None::<Option<Instant>>);
        for step in steps {
            let actions = match step {
                Step::Up => { carrier = true; bench.on(Event::CarrierUp) }
                Step::Lost => { carrier = false; bench.on(Event::CarrierLost) }
                Step::Rename(n) => bench.on(Event::Renamed(Some(format!("store-{n}")))),
                Step::Early(seconds) => {
                    let limit = bench.machine.deadline().unwrap_or(bench.now + Duration::from_secs(seconds));
                    bench.now = (bench.now + Duration::from_secs(seconds)).min(limit);
                    vec![]
                }
                Step::Reply(kind, time) => bench.on(Event::Received(bench.reply(kind, time))),
                Step::Timer if bench.machine.deadline().is_none() => vec![],
                Step::Timer => {
                    let actions = bench.wait().1;
                    prop_assert!(bench.machine.deadline().is_none_or(|next| next > bench.now), "the timer stands still");
                    actions
                }
            };
            for action in actions {
                match action {
                    Action::Send { .. } => prop_assert!(carrier),
                    Action::Bind(lease) => lease_until = Some(lease.lifetime.map(|time| bench.now + time)),
                    Action::Withdraw(_) => prop_assert!(lease_until.take().is_some(), "withdrawn without a lease"),
                }
            }
            if let Some(Some(end)) = lease_until {
                prop_assert!(bench.now <= end, "a lease outlived its time");
                prop_assert!(bench.machine.deadline().is_some_and(|next| next <= end));
            }
            if carrier && lease_until.is_none() {
                prop_assert!(bench.machine.deadline().is_some_and(|next| next - bench.now <= Duration::from_secs(72)));
            }
        }
    }
}
