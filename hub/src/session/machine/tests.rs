//! A session's machine: the way to admission, what breaks the protocol, and whatever may happen in any order.

use std::collections::BTreeSet;

use api::hub::proof_statement;
use api::hub::v1::{Events, Inventory, TunnelOpened};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use super::*;

fn channel() -> Channel {
    Channel { pin: [1; 32], nonce: [2; 32], exporter: [3; 32] }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn hello() -> Hello {
    let proof = key().sign(&proof_statement(&[1; 32], &[2; 32], &[3; 32])).to_vec();
    Hello { protocol: PROTOCOL, public_key: key().verifying_key().to_bytes().to_vec(), proof, ..Hello::default() }
}

fn says(kind: device_message::Kind) -> Event {
    Event::Device(Box::new(kind))
}

fn heartbeat(number: u64) -> Event {
    says(device_message::Kind::Heartbeat(Heartbeat { number, ..Heartbeat::default() }))
}

fn nothing_wanted() -> Wanted {
    Wanted { join_token: false, inventory: false }
}

fn admitted(now: Instant) -> Machine {
    let (mut machine, _) = Machine::begin(now, channel());
    machine.on_event(now, says(device_message::Kind::Hello(hello())));
    machine.on_event(now, Event::Looked(nothing_wanted()));
    let actions = machine.on_event(now, Event::Decided(Decision::Admitted { name: "a".into() }));
    assert!(matches!(actions.as_slice(), [Action::Send(_), Action::Admitted(_)]), "{actions:?}");
    machine
}

fn code_told(actions: &[Action]) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::Send(hub_message::Kind::Verdict(Verdict { kind: Some(verdict::Kind::Refused(refused)) })) => {
            Some(refused.code.clone())
        }
        _ => None,
    })
}

fn ended(actions: &[Action]) -> Option<&End> {
    actions.iter().find_map(|action| match action {
        Action::End(end) => Some(end),
        _ => None,
    })
}

#[test]
fn a_device_is_asked_only_for_what_is_wanted_and_heard_only_about_that() {
    let now = Instant::now();
    let (mut machine, began) = Machine::begin(now, channel());
    assert!(matches!(began.as_slice(), [Action::Send(hub_message::Kind::Challenge(_))]));
    let looked = machine.on_event(now, says(device_message::Kind::Hello(hello())));
    assert!(matches!(looked.as_slice(), [Action::Look { .. }]));
    let asked = machine.on_event(now, Event::Looked(Wanted { join_token: false, inventory: true }));
    assert_eq!(asked, [Action::Send(hub_message::Kind::Ask(Ask { join_token: false, inventory: true }))]);
    let answer = Answer { join_token: "skj_unasked".into(), inventory: Some(Inventory::default()) };
    let decide = machine.on_event(now, says(device_message::Kind::Answer(answer)));
    let [Action::Decide(attempt)] = decide.as_slice() else { panic!("{decide:?}") };
    assert_eq!(attempt.answer, Some(Answer { join_token: String::new(), inventory: Some(Inventory::default()) }));
}

#[test]
fn what_comes_out_of_turn_ends_the_session() {
    let now = Instant::now();
    for kind in [
        device_message::Kind::Answer(Answer::default()),
        device_message::Kind::Heartbeat(Heartbeat { number: 1, ..Heartbeat::default() }),
        device_message::Kind::TunnelOpened(TunnelOpened { id: 1 }),
    ] {
        let (mut machine, _) = Machine::begin(now, channel());
        let actions = machine.on_event(now, says(kind));
        assert_eq!(code_told(&actions).as_deref(), Some("malformed"));
        assert_eq!(machine.deadline(), None, "it is over");
        assert!(machine.on_event(now, says(device_message::Kind::Hello(hello()))).is_empty(), "nothing follows");
    }
    let mut machine = admitted(now);
    let again = machine.on_event(now, says(device_message::Kind::Hello(hello())));
    assert!(ended(&again).is_some(), "a device greets once");
}

#[test]
fn a_replayed_greeting_is_refused_before_the_database_is_asked() {
    let now = Instant::now();
    let (mut machine, _) = Machine::begin(now, Channel { nonce: [9; 32], ..channel() });
    let actions = machine.on_event(now, says(device_message::Kind::Hello(hello())));
    assert_eq!(code_told(&actions).as_deref(), Some("proof"));
    assert!(!actions.iter().any(|action| matches!(action, Action::Look { .. } | Action::Decide(_))));
    let (mut machine, _) = Machine::begin(now, channel());
    let old = Hello { protocol: PROTOCOL + 1, ..hello() };
    assert_eq!(code_told(&machine.on_event(now, says(device_message::Kind::Hello(old)))).as_deref(), Some("protocol"));
}

#[test]
fn a_silent_device_is_cut_off_at_every_stage() {
    let start = Instant::now();
    let (greeting, _) = Machine::begin(start, channel());
    let (mut asking, _) = Machine::begin(start, channel());
    asking.on_event(start, says(device_message::Kind::Hello(hello())));
    asking.on_event(start, Event::Looked(Wanted { join_token: true, inventory: true }));
    for mut machine in [greeting, asking, admitted(start)] {
        let due = machine.deadline().unwrap();
        assert!(machine.on_event(due - Duration::from_millis(1), Event::Tick).is_empty());
        assert!(matches!(ended(&machine.on_event(due, Event::Tick)), Some(End::Silent(_))));
    }
}

#[test]
fn a_slow_or_failing_database_tells_the_device_to_come_back() {
    let start = Instant::now();
    for event in [Event::Tick, Event::StoreFailed] {
        let (mut machine, _) = Machine::begin(start, channel());
        machine.on_event(start, says(device_message::Kind::Hello(hello())));
        let actions = machine.on_event(machine.deadline().unwrap(), event);
        assert_eq!((code_told(&actions).as_deref(), ended(&actions)), (Some("busy"), Some(&End::Store)));
    }
    let mut machine = admitted(start);
    assert!(machine.on_event(start, Event::StoreFailed).is_empty(), "an admitted device is not cut off for it");
    // But what could not be read may be its removal, and what could not be written where it is.
    let due = machine.deadline().unwrap();
    assert!(due <= start + Duration::from_secs(10));
    assert_eq!(machine.on_event(due, Event::Tick), [Action::NoteAgain, Action::LookAgain]);
    assert!(machine.on_event(due, Event::Tick).is_empty(), "once");
}

#[test]
fn a_flood_of_messages_ends_the_session_that_sends_it() {
    let now = Instant::now();
    let mut machine = admitted(now);
    let endured = (1..10_000).take_while(|number| ended(&machine.on_event(now, heartbeat(*number))).is_none()).count();
    assert_eq!(endured, BURST as usize);
    let mut machine = admitted(now);
    let many = Events { events: vec![api::v1::Event::default(); MAX_EVENTS + 1] };
    assert!(ended(&machine.on_event(now, says(device_message::Kind::Events(many)))).is_some());
    let mut machine = admitted(now);
    machine.on_event(now, heartbeat(5));
    assert!(ended(&machine.on_event(now, heartbeat(5))).is_some(), "a heartbeat twice");
}

#[test]
fn an_answer_to_what_was_never_offered_breaks_the_protocol() {
    let now = Instant::now();
    let mut machine = admitted(now);
    let offer = Offer { digest: "d".into(), config: vec![1] };
    let offered = machine.on_event(now, Event::Offer(offer.clone()));
    assert!(matches!(offered.as_slice(), [Action::Send(hub_message::Kind::ConfigOffer(_))]));
    assert!(machine.on_event(now, Event::Offer(offer)).is_empty(), "it is not sent twice");
    let outcome = |digest: &str| {
        says(device_message::Kind::ConfigOutcome(ConfigOutcome { digest: digest.into(), ..ConfigOutcome::default() }))
    };
    assert!(matches!(machine.on_event(now, outcome("d")).as_slice(), [Action::Outcome(_)]));
    assert_eq!(machine.offered(), Vec::<String>::new(), "refused: it may be offered again");
    assert!(ended(&machine.on_event(now, outcome("d"))).is_some(), "one answer to one offer");
}

/// Offers a configuration, which the device answers with this code; what follows, and after how many seconds the hub looks again.
fn answered(machine: &mut Machine, now: Instant, code: &str) -> (Actions, u64) {
    machine.on_event(now, Event::Offer(Offer { digest: "d".into(), config: vec![1] }));
    let outcome = ConfigOutcome { digest: "d".into(), code: code.into(), ..ConfigOutcome::default() };
    let actions = machine.on_event(now, says(device_message::Kind::ConfigOutcome(outcome)));
    let mut at = now;
    for number in 1.. {
        // It lives as long as it is waited for.
        at = machine.deadline().unwrap().min(at + Duration::from_secs(60));
        if machine.on_event(at, Event::Tick).contains(&Action::LookAgain) {
            return (actions, (at - now).as_secs());
        }
        machine.on_event(at, heartbeat(number));
    }
    unreachable!("a session has an end")
}

#[test]
fn a_device_that_cannot_judge_now_is_asked_again_soon_and_one_that_refuses_after_an_hour() {
    let now = Instant::now();
    for code in PASSING {
        let (actions, seconds) = answered(&mut admitted(now), now, code);
        assert!(matches!(actions.as_slice(), [Action::Postponed(_)]), "{code}: {actions:?}");
        assert_eq!(seconds, 60, "{code}");
    }
    for code in ["semantics", "generation-older", "target", "what-a-later-device-says", ""] {
        let (actions, seconds) = answered(&mut admitted(now), now, code);
        assert!(matches!(actions.as_slice(), [Action::Outcome(_)]), "{code}: {actions:?}");
        assert_eq!(seconds, 3605, "{code}");
    }
}

#[test]
fn a_device_that_can_never_judge_is_asked_less_and_less() {
    let now = Instant::now();
    let mut machine = admitted(now);
    let mut pauses = vec![];
    for _ in 0..9 {
        machine.on_event(now, Event::Offer(Offer { digest: "d".into(), config: vec![1] }));
        let outcome = ConfigOutcome { digest: "d".into(), code: "defect".into(), ..ConfigOutcome::default() };
        machine.on_event(now, says(device_message::Kind::ConfigOutcome(outcome)));
        let live = machine.live().unwrap();
        pauses.push((*live.looks.last().unwrap() - now).as_secs().min(3600));
        live.looks.clear();
    }
    assert_eq!(pauses[1..], [120, 240, 480, 960, 1920, 3600, 3600, 3600]);
}

#[test]
fn what_the_device_accepted_is_not_offered_to_it_again() {
    let now = Instant::now();
    let mut machine = admitted(now);
    let offer = Offer { digest: "d".into(), config: vec![1] };
    machine.on_event(now, Event::Offer(offer.clone()));
    assert_eq!(machine.offered(), ["d"]);
    let accepted = ConfigOutcome { digest: "d".into(), accepted: true, ..ConfigOutcome::default() };
    machine.on_event(now, says(device_message::Kind::ConfigOutcome(accepted)));
    assert_eq!(machine.offered(), ["d"], "before it reports that it runs it");
    assert!(machine.on_event(now, Event::Offer(offer)).is_empty());
}

#[test]
fn removal_ends_a_live_session_at_once_and_tells_the_device() {
    let now = Instant::now();
    let mut machine = admitted(now);
    machine.on_event(now, Event::Open { request: 1, who: "kim".into() });
    let why = Dismissal::Verdict { code: "removed".into(), message: "gone".into(), retry_seconds: 3600 };
    let actions = machine.on_event(now, Event::Dismiss(why));
    assert_eq!(code_told(&actions).as_deref(), Some("removed"));
    assert!(actions.iter().any(|action| matches!(action, Action::Closed { id: 1, .. })), "its tunnels end with it");
    assert!(matches!(actions.last(), Some(Action::End(End::Dismissed(_)))));
}

#[test]
fn a_long_reason_to_close_a_tunnel_is_cut() {
    let now = Instant::now();
    let mut machine = admitted(now);
    machine.on_event(now, Event::Open { request: 1, who: "kim".into() });
    let close = TunnelClose { id: 1, reason: "r".repeat(300 << 10) };
    let actions = machine.on_event(now, says(device_message::Kind::TunnelClose(close)));
    assert!(matches!(actions.as_slice(), [Action::Closed { id: 1, reason }] if reason.len() <= REASON_BYTES));
}

#[test]
fn a_device_that_does_not_open_a_tunnel_loses_that_tunnel_only() {
    let now = Instant::now();
    let mut machine = admitted(now);
    machine.on_event(now, Event::Open { request: 1, who: "kim".into() });
    let due = machine.deadline().unwrap();
    let actions = machine.on_event(due, Event::Tick);
    assert!(matches!(actions.as_slice(), [Action::Send(hub_message::Kind::TunnelClose(_)), Action::Closed { id: 1, .. }]));
    assert!(machine.deadline().is_some(), "the session goes on");
}

fn device_kind() -> impl Strategy<Value = device_message::Kind> {
    let id = 0..4u32;
    prop_oneof![
        4 => Just(device_message::Kind::Hello(hello())),
        1 => Just(device_message::Kind::Hello(Hello::default())),
        2 => Just(device_message::Kind::Answer(Answer::default())),
        2 => (0..40u64).prop_map(|number| device_message::Kind::Heartbeat(Heartbeat { number, ..Heartbeat::default() })),
        1 => (0..3u32).prop_map(|n| device_message::Kind::ConfigOutcome(ConfigOutcome { digest: n.to_string(), ..ConfigOutcome::default() })),
        1 => Just(device_message::Kind::Events(Events::default())),
        3 => id.clone().prop_map(|id| device_message::Kind::TunnelOpened(TunnelOpened { id })),
        3 => (id.clone(), 0..20_000usize).prop_map(|(id, bytes)| device_message::Kind::TunnelData(TunnelData { id, data: vec![0; bytes] })),
        1 => (id.clone(), any::<u32>()).prop_map(|(id, bytes)| device_message::Kind::TunnelCredit(TunnelCredit { id, bytes })),
        1 => id.prop_map(|id| device_message::Kind::TunnelClose(TunnelClose { id, reason: String::new() })),
    ]
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        6 => Just(Decision::Admitted { name: String::new() }),
        1 => Just(Decision::Pending { message: String::new(), retry_seconds: 15 }),
        1 => Just(Decision::Refused { code: "refused".into(), message: String::new(), retry_seconds: 300 }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => device_kind().prop_map(says),
        4 => any::<(bool, bool)>().prop_map(|(join_token, inventory)| Event::Looked(Wanted { join_token, inventory })),
        4 => decision().prop_map(Event::Decided),
        1 => Just(Event::StoreFailed),
        1 => (0..3u32).prop_map(|n| Event::Offer(Offer { digest: n.to_string(), config: Vec::new() })),
        3 => (0..100u64).prop_map(|request| Event::Open { request, who: String::new() }),
        2 => (0..4u32, 0..20_000usize).prop_map(|(id, bytes)| Event::FromOperator { id, data: vec![0; bytes] }),
        2 => (0..4u32, any::<u16>()).prop_map(|(id, bytes)| Event::Taken { id, bytes: u32::from(bytes) }),
        1 => (0..4u32).prop_map(|id| Event::Left { id, reason: String::new() }),
        1 => Just(Event::Dismiss(Dismissal::Superseded)),
        4 => Just(Event::Tick),
    ]
}

/// What has come out of a machine so far, as far as the rules need it.
#[derive(Default)]
struct Seen {
    admitted: bool,
    over: bool,
    opened: BTreeSet<u32>,
    closed: BTreeSet<u32>,
}

impl Seen {
    fn check(&mut self, action: &Action) {
        assert!(!self.over || matches!(action, Action::NotOpened { .. }), "nothing follows the end: {action:?}");
        match action {
            Action::Admitted(_) => assert!(!std::mem::replace(&mut self.admitted, true), "admitted twice"),
            Action::Heard(_)
            | Action::Outcome(_)
            | Action::Postponed(_)
            | Action::LookAgain
            | Action::NoteAgain
            | Action::Happened(_) => assert!(self.admitted, "{action:?} of a stranger"),
            Action::Send(hub_message::Kind::ConfigOffer(_) | hub_message::Kind::TunnelOpen(_)) => {
                assert!(self.admitted, "{action:?} to a stranger");
            }
            Action::Opening { id, .. } => assert!(self.opened.insert(*id), "a number twice"),
            Action::ToOperator { id, data } => {
                assert!(self.opened.contains(id) && !self.closed.contains(id) && data.len() <= api::hub::TUNNEL_PIECE_BYTES);
            }
            Action::Closed { id, .. } => assert!(self.closed.insert(*id), "closed twice"),
            Action::End(_) => self.over = true,
            Action::Send(_) | Action::Look { .. } | Action::Decide(_) | Action::NotOpened { .. } | Action::Opened { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_stranger_gets_nothing_and_a_session_always_has_an_end_in_sight(
        events in prop::collection::vec((event(), 0..20_000u64), 0..60)
    ) {
        let mut now = Instant::now();
        let (mut machine, began) = Machine::begin(now, channel());
        let mut seen = Seen::default();
        began.iter().for_each(|action| seen.check(action));
        for (event, millis) in events {
            now += Duration::from_millis(millis);
            for action in machine.on_event(now, event) {
                seen.check(&action);
            }
            prop_assert_eq!(machine.deadline().is_none(), seen.over);
            for id in 0..4 {
                prop_assert!(seen.admitted || machine.sendable(id) == 0);
            }
        }
        // Left alone it ends by itself.
        while let Some(deadline) = machine.deadline() {
            for action in machine.on_event(deadline, Event::Tick) {
                seen.check(&action);
            }
        }
        prop_assert!(seen.over);
    }
}
