//! Stories told step by step, and any sequence of events at all.

use api::hub::v1::{Admitted as AdmittedMessage, Ask, Challenge, HeartbeatReceived, Pending, Refused, TunnelOpen};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::phone_home::{Address, Pin};

fn target(addresses: usize) -> Target {
    let address = |n| Address { host: format!("hub{n}.example"), port: 443 };
    Target { addresses: (0..addresses).map(address).collect(), pin: Pin::of(b"hub"), proxy: None, public_key: [7; 32] }
}

fn challenge() -> Kind {
    Kind::Challenge(Challenge { nonce: vec![1; 32], protocol: 1 })
}

fn admitted() -> Kind {
    verdict(verdict::Kind::Admitted(AdmittedMessage { heartbeat_seconds: 0, name: "box".into() }))
}

fn refused(code: &str, retry_seconds: u32) -> Kind {
    verdict(verdict::Kind::Refused(Refused { code: code.into(), message: "no".into(), retry_seconds }))
}

fn pending(retry_seconds: u32) -> Kind {
    verdict(verdict::Kind::Pending(Pending { message: "wait".into(), retry_seconds }))
}

fn verdict(kind: verdict::Kind) -> Kind {
    Kind::Verdict(Verdict { kind: Some(kind) })
}

fn offer(config: &[u8]) -> Kind {
    Kind::ConfigOffer(ConfigOffer { config: config.to_vec(), digest: hex::encode(Sha256::digest(config)) })
}

fn outcome(digest: &str) -> ConfigOutcome {
    ConfigOutcome { digest: digest.into(), accepted: true, generation: 1, ..ConfigOutcome::default() }
}

/// A machine and its clock.
struct Story {
    machine: Machine,
    now: Instant,
}

impl Story {
    fn of(addresses: usize) -> (Self, Vec<Action>) {
        let mut story = Self { machine: Machine::new(1), now: Instant::now() };
        let actions = story.event(Event::Settings(Some(target(addresses))));
        (story, actions)
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.machine.on_event(self.now, event)
    }

    fn says(&mut self, kind: Kind) -> Vec<Action> {
        self.event(Event::Received(Some(kind)))
    }

    /// Lets time pass to the next deadline; how long, and what is done then.
    fn pass(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.machine.deadline().expect("something is due");
        let passed = deadline.saturating_duration_since(self.now);
        self.now = self.now.max(deadline);
        (passed, self.event(Event::Tick))
    }

    fn admitted() -> Self {
        let (mut story, _) = Self::of(1);
        story.event(Event::Connected);
        story.says(challenge());
        story.event(Event::Proved);
        story.says(admitted());
        story
    }

    fn judged(&mut self) -> Vec<Action> {
        self.event(Event::Judged(outcome("d")))
    }
}

fn states(actions: &[Action]) -> Vec<HubState> {
    let state = |action: &Action| match action {
        Action::Report(report) => Some(report.state),
        _ => None,
    };
    actions.iter().filter_map(state).collect()
}

fn is_beat(action: &Action) -> bool {
    matches!(action, Action::SendHeartbeat { .. })
}

#[test]
fn without_a_hub_nothing_is_tried() {
    let mut machine = Machine::new(1);
    let now = Instant::now();
    assert_eq!(machine.deadline(), None);
    for event in [Event::Tick, Event::Settings(None), Event::StatusChanged, Event::NetworkChanged, Event::EventsWaiting] {
        assert_eq!(machine.on_event(now, event), []);
    }
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_device_is_admitted_and_beats() {
    let (mut story, actions) = Story::of(1);
    assert_eq!(actions[0], Action::Connect(0));
    assert_eq!(story.event(Event::Connected), []);
    assert_eq!(story.says(challenge()), [Action::Prove([1; 32])]);
    assert_eq!(story.event(Event::Proved), [Action::SendHello]);
    let ask = Kind::Ask(Ask { join_token: true, inventory: false });
    assert_eq!(story.says(ask), [Action::SendAnswer { join_token: true, inventory: false }]);
    let actions = story.says(admitted());
    assert_eq!(states(&actions), [HubState::Admitted]);
    assert_eq!(actions[1..], [Action::SendHeartbeat { number: 1, report: true }, Action::SendEvents]);
    assert_eq!(story.says(Kind::HeartbeatReceived(HeartbeatReceived { number: 1 })), []);
    let (passed, actions) = story.pass();
    assert!(passed <= Duration::from_secs(150) && passed > Duration::from_secs(140), "{passed:?}");
    assert_eq!(actions, [Action::SendHeartbeat { number: 2, report: false }]);
}

#[test]
fn a_hub_that_has_no_room_is_followed_by_the_next_address() {
    let (mut story, _) = Story::of(3);
    let mut tried = Vec::new();
    for code in ["busy", "busy", "refused", "busy"] {
        story.event(Event::Connected);
        story.says(challenge());
        story.event(Event::Proved);
        let actions = story.says(refused(code, 300));
        assert!(actions.contains(&Action::Finish), "{code}: {actions:?}");
        story.event(Event::Lost(String::new()));
        let (passed, actions) = story.pass();
        assert!(passed >= Duration::from_secs(100), "the hub's pause is kept: {passed:?}");
        tried.extend(actions.iter().filter_map(|action| match action {
            Action::Connect(address) => Some(*address),
            _ => None,
        }));
    }
    assert_eq!(tried, [1, 2, 2, 0]);
}

#[test]
fn a_hub_that_answers_no_heartbeat_is_gone() {
    let mut story = Story::admitted();
    let (passed, actions) = story.pass();
    assert_eq!(passed, HEARTBEAT_ANSWER);
    assert_eq!(actions[0], Action::Disconnect);
    assert_eq!(states(&actions), [HubState::Unreachable]);
    let (passed, actions) = story.pass();
    assert!(passed <= Duration::from_secs(1), "{passed:?}");
    assert_eq!(actions, [Action::Connect(0)]);
}

#[test]
fn addresses_are_tried_in_turn_and_a_pause_follows_each_round() {
    let (mut story, _) = Story::of(3);
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        for next in [1, 2] {
            let actions = story.event(Event::Lost("refused".into()));
            assert!(actions.contains(&Action::Connect(next)), "{actions:?}");
        }
        story.event(Event::Lost("refused".into()));
        let (passed, actions) = story.pass();
        assert_eq!(actions, [Action::Connect(0)]);
        longest = longest.max(passed);
    }
    assert!(longest >= Duration::from_secs(150) && longest <= Duration::from_secs(300), "{longest:?}");
}

#[test]
fn a_network_that_comes_up_is_used_soon_but_a_hub_s_pause_is_kept() {
    let (mut story, _) = Story::of(1);
    for _ in 0..12 {
        story.event(Event::Lost("no route".into()));
        story.pass();
    }
    story.event(Event::Lost("no route".into()));
    for _ in 0..100 {
        assert_eq!(story.event(Event::NetworkChanged), []);
    }
    let (passed, actions) = story.pass();
    assert!(passed <= HURRY && passed >= HURRY / 2, "{passed:?}");
    assert_eq!(actions, [Action::Connect(0)]);
    story.event(Event::Connected);
    story.says(challenge());
    story.event(Event::Proved);
    story.says(refused("removed", 0));
    story.event(Event::Lost("it ended".into()));
    story.event(Event::NetworkChanged);
    assert!(story.pass().0 > Duration::from_secs(2800));
}

#[test]
fn pending_and_refused_devices_ask_again_within_bounds() {
    let cases = [
        (pending(15), HubState::Pending, 12..=15),
        (pending(u32::MAX), HubState::Pending, 480..=600),
        (refused("token-used", 0), HubState::Refused, 240..=300),
        (refused("refused", u32::MAX), HubState::Refused, 2880..=3600),
        (refused("removed", 1), HubState::Refused, 2880..=3600),
    ];
    for (verdict, state, seconds) in cases {
        let (mut story, _) = Story::of(1);
        story.event(Event::Connected);
        story.says(challenge());
        story.event(Event::Proved);
        let actions = story.says(verdict);
        assert_eq!((&actions[0], states(&actions)), (&Action::Finish, vec![state]));
        assert_eq!(story.event(Event::Lost("it ended".into())), [Action::Disconnect]);
        let (passed, actions) = story.pass();
        assert!(seconds.contains(&passed.as_secs()), "{passed:?}, expected {seconds:?} s");
        assert_eq!(actions, [Action::Connect(0)]);
    }
}

#[test]
fn a_hub_that_keeps_the_call_open_after_its_verdict_is_left() {
    let (mut story, _) = Story::of(1);
    story.event(Event::Connected);
    story.says(challenge());
    story.event(Event::Proved);
    story.says(pending(15));
    assert_eq!(story.says(challenge()), [], "what it still says is not heard");
    assert_eq!(story.pass(), (CLOSE_TIMEOUT, vec![Action::Disconnect]));
}

#[test]
fn messages_out_of_order_end_the_session() {
    let tunnel = || Kind::TunnelOpen(TunnelOpen { id: 1, who: "kim".into() });
    let beat = || Kind::HeartbeatReceived(HeartbeatReceived { number: 1 });
    type Prepare = fn(&mut Story);
    let stages: [(Prepare, Vec<Kind>); 4] = [
        (|_| (), vec![admitted(), offer(b"c"), tunnel(), beat(), Kind::Ask(Ask { join_token: true, inventory: true })]),
        (|story| drop(story.says(challenge())), vec![challenge(), admitted(), offer(b"c"), tunnel()]),
        (
            |story| drop((story.says(challenge()), story.event(Event::Proved))),
            vec![challenge(), offer(b"c"), tunnel(), beat(), verdictless()],
        ),
        (
            |story| drop((story.says(challenge()), story.event(Event::Proved), story.says(admitted()), story.says(beat_of(1)))),
            vec![
                challenge(),
                admitted(),
                beat(),
                beat_of(2),
                Kind::Ask(Ask::default()),
                Kind::ConfigOffer(ConfigOffer { config: b"c".to_vec(), digest: "d".into() }),
            ],
        ),
    ];
    for (stage, (prepare, kinds)) in stages.into_iter().enumerate() {
        for kind in kinds {
            let (mut story, _) = Story::of(1);
            story.event(Event::Connected);
            prepare(&mut story);
            let actions = story.says(kind.clone());
            assert_eq!(
                (actions.first(), states(&actions)),
                (Some(&Action::Disconnect), vec![HubState::Unreachable]),
                "{stage} {kind:?}"
            );
        }
    }
}

fn beat_of(number: u64) -> Kind {
    Kind::HeartbeatReceived(HeartbeatReceived { number })
}

fn verdictless() -> Kind {
    Kind::Verdict(Verdict { kind: None })
}

#[test]
fn an_ask_for_nothing_and_a_second_ask_are_refused() {
    for asks in [vec![Ask::default()], vec![Ask { join_token: true, inventory: true }; 2]] {
        let (mut story, _) = Story::of(1);
        story.event(Event::Connected);
        story.says(challenge());
        story.event(Event::Proved);
        let last = asks.into_iter().map(|ask| story.says(Kind::Ask(ask))).last().expect("some");
        assert_eq!(last[0], Action::Disconnect);
    }
}

#[test]
fn a_wrong_nonce_or_an_old_protocol_is_not_answered() {
    for (nonce, protocol) in [(vec![], 1), (vec![1; 31], 1), (vec![1; 33], 1), (vec![1; 32], 0)] {
        let (mut story, _) = Story::of(1);
        story.event(Event::Connected);
        assert_eq!(story.says(Kind::Challenge(Challenge { nonce, protocol }))[0], Action::Disconnect);
    }
}

#[test]
fn configurations_are_judged_one_a_second_and_the_newest_counts() {
    let mut story = Story::admitted();
    story.says(beat_of(1));
    assert!(matches!(story.says(offer(b"1"))[..], [Action::Judge(_)]));
    assert_eq!(story.says(offer(b"2")), []);
    let replaced = story.says(offer(b"3"));
    let [Action::SendOutcome(replaced)] = &replaced[..] else { panic!("{replaced:?}") };
    assert_eq!((replaced.accepted, replaced.code.as_str()), (false, "superseded"));
    let told = story.judged();
    assert_eq!(told, [Action::SendOutcome(outcome("d"))], "the next one waits a second");
    let (passed, actions) = story.pass();
    assert_eq!(passed, OFFER_SPACING);
    assert!(matches!(&actions[..], [Action::Judge(third)] if third.config == b"3"), "{actions:?}");
}

#[test]
fn a_configuration_that_names_another_hub_is_answered_before_the_device_leaves() {
    let mut story = Story::admitted();
    story.says(offer(b"1"));
    let other = Target { pin: Pin::of(b"other"), ..target(1) };
    assert_eq!(story.event(Event::Settings(Some(other))), []);
    assert_eq!(story.judged(), [Action::SendOutcome(outcome("d")), Action::Finish]);
    let actions = story.event(Event::Lost("it ended".into()));
    assert_eq!(actions[..2], [Action::Disconnect, Action::Connect(0)]);
}

#[test]
fn other_settings_end_the_session_and_none_end_all() {
    let mut story = Story::admitted();
    assert_eq!(story.event(Event::Settings(Some(target(1)))), [], "the same hub");
    let actions = story.event(Event::Settings(Some(target(2))));
    assert_eq!(actions[..2], [Action::Disconnect, Action::Connect(0)]);
    assert_eq!(story.event(Event::Settings(None)), [Action::Disconnect]);
    assert_eq!(story.machine.deadline(), None);
}

#[test]
fn changes_are_told_soon_but_ever_more_seldom() {
    let mut story = Story::admitted();
    let began = story.now;
    let mut told = 1;
    story.says(beat_of(told));
    while story.now < began + Duration::from_secs(3600) {
        story.event(Event::StatusChanged);
        let (_, actions) = story.pass();
        if actions.iter().any(is_beat) {
            told += 1;
            assert_eq!(story.says(beat_of(told)), []);
        }
    }
    assert!((24..=32).contains(&told), "{told} reports in an hour");
}

#[test]
fn a_hub_that_admits_and_drops_is_not_called_without_end() {
    let (mut story, _) = Story::of(1);
    let began = story.now;
    for _ in 0..20 {
        story.event(Event::Connected);
        story.says(challenge());
        story.event(Event::Proved);
        story.says(admitted());
        story.event(Event::Lost("dropped".into()));
        story.pass();
    }
    assert!(story.now - began > Duration::from_secs(1500), "{:?}", story.now - began);
}

fn any_kind() -> impl Strategy<Value = Option<Kind>> {
    let number = 0_u64..4;
    prop_oneof![
        1 => Just(None),
        4 => Just(Some(challenge())),
        1 => Just(Some(Kind::Ask(Ask { join_token: true, inventory: true }))),
        6 => Just(Some(admitted())),
        1 => Just(Some(pending(15))),
        1 => Just(Some(refused("removed", 0))),
        1 => Just(Some(verdictless())),
        2 => number.prop_map(|number| Some(beat_of(number))),
        2 => any::<u8>().prop_map(|byte| Some(offer(&[byte]))),
        1 => Just(Some(Kind::TunnelOpen(TunnelOpen { id: 1, who: String::new() }))),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0_usize..3).prop_map(|addresses| Event::Settings((addresses > 0).then(|| target(addresses)))),
        6 => Just(Event::Connected),
        12 => any_kind().prop_map(Event::Received),
        5 => Just(Event::Proved),
        2 => Just(Event::Judged(outcome("d"))),
        1 => Just(Event::StatusChanged),
        1 => Just(Event::EventsWaiting),
        1 => Just(Event::NetworkChanged),
        2 => Just(Event::Lost("lost".into())),
        4 => Just(Event::Tick),
    ]
}

/// What must hold of any sequence, as seen from outside.
#[derive(Default)]
struct Watcher {
    connection: bool,
    greeted: bool,
    admitted: bool,
    judging: u32,
}

impl Watcher {
    fn event(&mut self, event: &Event) {
        if let Event::Received(Some(Kind::Verdict(Verdict { kind: Some(verdict::Kind::Admitted(_)) }))) = event {
            self.admitted |= self.greeted;
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Connect(_) => {
                assert!(!self.connection, "a second connection");
                *self = Self { connection: true, ..Self::default() };
            }
            Action::Disconnect => *self = Self::default(),
            Action::Prove(_) => assert!(self.connection && !self.admitted),
            Action::SendHello => {
                assert!(self.connection && !self.greeted);
                self.greeted = true;
            }
            Action::SendAnswer { .. } => assert!(self.greeted && !self.admitted),
            Action::Judge(_) => {
                self.judging += 1;
                assert!(self.admitted && self.judging == 1, "a configuration outside a session, or two at once");
            }
            Action::SendOutcome(outcome) => {
                assert!(self.admitted);
                self.judging -= u32::from(outcome.code != "superseded");
            }
            Action::SendHeartbeat { .. } | Action::SendEvents | Action::Tunnel(_) => assert!(self.admitted, "{action:?}"),
            Action::Finish => assert!(self.connection),
            Action::Report(report) => assert!(report.message.chars().count() <= 210),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(seed: u64, events in prop::collection::vec((any_event(), 0_u64..200_000), 0..200)) {
        let mut machine = Machine::new(seed);
        let (mut now, mut watcher, mut configured) = (Instant::now(), Watcher::default(), false);
        for (event, pass) in events {
            now += Duration::from_millis(pass);
            if let Event::Settings(target) = &event {
                configured = target.is_some();
            }
            watcher.event(&event);
            for action in machine.on_event(now, event) {
                watcher.action(&action);
            }
            match machine.deadline() {
                Some(deadline) => {
                    prop_assert!(deadline > now, "what is due is done");
                    prop_assert!(deadline <= now + Duration::from_secs(3600));
                }
                None => prop_assert!(!configured && !watcher.connection, "it sleeps for ever"),
            }
        }
    }
}
