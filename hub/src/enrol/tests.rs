//! Decisions as a table, and what must hold for all of them.

use proptest::prelude::*;

use super::testing::{attempt, device, mac};
use super::*;
use crate::model::{
    Device, DeviceState, Expected, Label, Labels, Policy, Rule, RuleKind, RuleOutcome, Source, Strangers, Time, Token,
};
use crate::tokens::testing::token;

const NOW: Time = Time::from_millis(1_000_000);

fn facts() -> Facts {
    Facts {
        claims: Claims::from(&attempt(1, None)),
        known: None,
        token: TokenFact::NotShown,
        places: vec![],
        rules: vec![],
        policy: Policy::default(),
        pending: 0,
        crowd: Crowd::default(),
    }
}

fn place() -> Expected {
    let labels = Labels::from([("shop".into(), "1".into())]);
    let (name, serial) = (Some("store-1".into()), Some("S1".into()));
    Expected { name, serial, labels, site: "Oslo".into(), ..Expected::blank(Source::Manifest, NOW) }
}

fn rule(kind: RuleKind) -> Rule {
    let name = "r".into();
    let outcome = RuleOutcome::Admit;
    Rule {
        name,
        kind,
        outcome,
        without_token: false,
        labels: Labels::new(),
        groups: vec![],
        created_by: "host".into(),
        created_at: NOW,
    }
}

fn shown() -> TokenFact {
    TokenFact::Found(Box::new(token()))
}

fn places(place: Expected) -> Vec<Expected> {
    vec![place]
}

#[test]
fn who_calls_for_the_first_time_is_told_this() {
    let id = Claims::from(&attempt(1, None)).id;
    let manifest = || vec![rule(RuleKind::Manifest)];
    let wrong_board = Expected { board: "rpi5".into(), ..place() };
    let wrong_mac = Expected { mac: mac(2).parse().ok(), ..place() };
    let taken = Expected { taken_by: Some(device(9).id), ..place() };
    let claimed = Expected { claimed_by: Some("user:kim".into()), ..place() };
    let by_key = Expected { device_id: Some(id), ..place() };
    let only_name = Expected { serial: None, ..place() };
    let wait = Policy { strangers: Strangers::Wait, ..Policy::default() };
    let cases = [
        ("nothing", facts(), "token-unknown"),
        ("a stranger where strangers wait", Facts { policy: wait.clone(), ..facts() }, "pending"),
        ("a full queue", Facts { token: shown(), pending: 10_000, ..facts() }, "busy"),
        (
            "one full of strangers",
            Facts { policy: wait.clone(), crowd: Crowd { of_all: 10_000, ..Crowd::default() }, ..facts() },
            "busy",
        ),
        (
            "that with a token",
            Facts { token: shown(), crowd: Crowd { of_all: 10_000, ..Crowd::default() }, ..facts() },
            "pending",
        ),
        ("one full of others", Facts { policy: wait.clone(), pending: 10_000, ..facts() }, "pending"),
        ("a token", Facts { token: shown(), ..facts() }, "pending"),
        ("an unknown token", Facts { token: TokenFact::Unknown, rules: manifest(), ..facts() }, "token-unknown"),
        ("that where strangers wait", Facts { token: TokenFact::Unknown, policy: wait.clone(), ..facts() }, "pending"),
        (
            "that with a place",
            Facts { token: TokenFact::Unknown, places: places(place()), rules: manifest(), ..facts() },
            "pending",
        ),
        (
            "that with a key made beforehand",
            Facts { token: TokenFact::Unknown, places: places(by_key.clone()), rules: manifest(), ..facts() },
            "admitted",
        ),
        (
            "that in a crowd",
            Facts {
                token: TokenFact::Unknown,
                places: places(place()),
                crowd: Crowd { of_place: 3, ..Crowd::default() },
                ..facts()
            },
            "busy",
        ),
        ("a used token", Facts { token: TokenFact::Found(Box::new(Token { uses_left: 0, ..token() })), ..facts() }, "token-used"),
        ("a serial number", Facts { places: places(place()), rules: manifest(), ..facts() }, "pending"),
        ("that and a token", Facts { token: shown(), places: places(place()), rules: manifest(), ..facts() }, "admitted"),
        ("a key made beforehand", Facts { places: places(by_key.clone()), rules: manifest(), ..facts() }, "admitted"),
        ("that without a rule", Facts { places: places(by_key), ..facts() }, "pending"),
        ("another board", Facts { token: shown(), places: places(wrong_board), rules: manifest(), ..facts() }, "pending"),
        ("another port", Facts { token: shown(), places: places(wrong_mac), rules: manifest(), ..facts() }, "pending"),
        ("a taken place", Facts { token: shown(), places: places(taken), rules: manifest(), ..facts() }, "pending"),
        ("a name alone", Facts { places: places(only_name), rules: manifest(), ..facts() }, "token-unknown"),
        ("a claim without token", Facts { places: places(claimed.clone()), ..facts() }, "pending"),
        ("a claim and a token", Facts { token: shown(), places: places(claimed), ..facts() }, "admitted"),
    ];
    for (what, facts, expected) in cases {
        assert_eq!(decide(&facts, NOW).verdict.word(), expected, "{what}");
    }
}

#[test]
fn a_rule_may_waive_the_token_and_says_so() {
    let waived = |kind| Rule { without_token: true, ..rule(kind) };
    let places = places(place());
    for kind in [
        RuleKind::Manifest,
        RuleKind::Serials(vec!["S1".into()]),
        RuleKind::Label(Label { key: "shop".into(), value: "1".into() }),
    ] {
        let with = Facts { places: places.clone(), rules: vec![waived(kind.clone())], ..facts() };
        assert_eq!(decide(&with, NOW).verdict.word(), "admitted", "{kind:?}");
        let without = Facts { places: places.clone(), rules: vec![rule(kind.clone())], ..facts() };
        assert_eq!(decide(&without, NOW).verdict.word(), "pending", "{kind:?}");
    }
}

#[test]
fn the_first_rule_that_fits_may_also_turn_away() {
    let named = |name: &str, outcome, kind| Rule { name: name.into(), outcome, ..rule(kind) };
    let stolen = || RuleKind::Serials(vec!["S1".into()]);
    let admits = named("b", RuleOutcome::Admit, RuleKind::Manifest);
    for (outcome, word) in [(RuleOutcome::Refuse, "refused"), (RuleOutcome::Quarantine, "quarantined")] {
        let rules = vec![named("a", outcome, stolen()), admits.clone()];
        let proved = Facts { token: shown(), places: places(place()), rules: rules.clone(), ..facts() };
        let decision = decide(&proved, NOW);
        let kept = decision.device.expect("who proved something is kept");
        assert_eq!((decision.verdict.word(), kept.state.as_str(), kept.reason.as_str()), (word, word, "by rule a"));
        assert!(decision.notes.iter().any(|note| note.actor == crate::model::Actor::Rule("a".into())), "{:?}", decision.notes);
        let unproved = decide(&Facts { places: places(place()), rules: rules.clone(), ..facts() }, NOW);
        assert_eq!(
            (unproved.verdict.word(), unproved.device, unproved.notes),
            (word, None, vec![]),
            "nothing to fill the list with"
        );
        let waits = Some(Device { serials: vec!["S1".into()], ..device(1) });
        let decision = decide(&Facts { known: waits, rules, ..facts() }, NOW);
        assert_eq!((decision.verdict.word(), decision.device.unwrap().state.as_str()), (word, word), "one that waits already");
    }
    let later = vec![admits, named("c", RuleOutcome::Refuse, stolen())];
    let decision = decide(&Facts { token: shown(), places: places(place()), rules: later, ..facts() }, NOW);
    assert_eq!(decision.verdict.word(), "admitted", "the first one counts");
}

#[test]
fn whoever_only_made_a_key_fills_no_place_and_no_queue() {
    let none = Crowd::default();
    for crowd in [Crowd { of_place: 3, ..none }, Crowd { of_neighbour: 100, ..none }, Crowd { of_all: 2500, ..none }] {
        let unproved = Facts { places: places(place()), crowd, ..facts() };
        assert_eq!(decide(&unproved, NOW).verdict.word(), "busy", "{crowd:?}");
        let by_key = Expected { device_id: Some(unproved.claims.id.clone()), ..place() };
        assert_eq!(
            decide(&Facts { places: places(by_key), crowd, ..facts() }, NOW).verdict.word(),
            "pending",
            "a key made beforehand"
        );
        assert_eq!(decide(&Facts { token: shown(), crowd, ..facts() }, NOW).verdict.word(), "pending", "a token");
        let known = Some(device(1));
        assert_eq!(decide(&Facts { known, crowd, ..facts() }, NOW).verdict.word(), "pending", "one that waits already");
    }
    let wait = Policy { strangers: Strangers::Wait, ..Policy::default() };
    let crowd = Crowd { of_all: 2500, of_place: 0, of_neighbour: 100 };
    assert_eq!(
        decide(&Facts { policy: wait, crowd, ..facts() }, NOW).verdict.word(),
        "pending",
        "they may wait: somebody said so"
    );
    let room = Crowd { of_all: 2499, of_place: 2, of_neighbour: 99 };
    assert_eq!(decide(&Facts { places: places(place()), crowd: room, ..facts() }, NOW).verdict.word(), "pending");
}

#[test]
fn whoever_proved_nothing_stays_what_he_said_at_first() {
    let said = Facts { places: places(place()), ..facts() };
    let known = || Some(Device { serials: vec!["S0".into()], ..device(1) });
    let serial = |facts: Facts| {
        let device = decide(&facts, NOW).device.expect("it waits on");
        (device.serials[0].clone(), device.reason.contains("at first"))
    };
    let (new, old) = (("S1".to_owned(), false), ("S0".to_owned(), true));
    assert_eq!(serial(Facts { known: known(), ..said.clone() }), new, "a place with room");
    let crowd = Crowd { of_place: 3, ..Crowd::default() };
    assert_eq!(serial(Facts { known: known(), crowd, ..said.clone() }), old, "a place without");
    assert_eq!(serial(Facts { known: known(), ..facts() }), old, "nobody expects that");
    let wait = Policy { strangers: Strangers::Wait, ..Policy::default() };
    assert_eq!(serial(Facts { known: known(), policy: wait, ..facts() }), new, "strangers may wait");
    assert_eq!(serial(Facts { known: known(), token: shown(), crowd, ..said.clone() }), new, "it shows a token");
    let proved = known().map(|device| Device { token: Some("t".into()), ..device });
    assert_eq!(serial(Facts { known: proved, crowd, ..facts() }), new, "it showed one");
}

#[test]
fn no_rule_overrules_a_person() {
    for state in [DeviceState::Refused, DeviceState::Quarantined, DeviceState::Removed] {
        let known = Some(Device { state, ..device(1) });
        let rules = vec![Rule { without_token: true, ..rule(RuleKind::Serials(vec!["S1".into()])) }];
        let decision = decide(&Facts { known, rules, token: shown(), places: places(place()), ..facts() }, NOW);
        assert_eq!((decision.verdict.word(), decision.device, decision.use_token), (state.as_str(), None, None));
    }
}

#[test]
fn other_hardware_under_one_key_is_told_to_the_audit() {
    let first = decide(&Facts { token: shown(), ..facts() }, NOW).device.unwrap();
    let known = Some(Device { state: DeviceState::Admitted, ..first });
    let moved =
        Facts { claims: Claims { inventory: Claims::from(&attempt(2, None)).inventory, ..facts().claims }, known, ..facts() };
    let decision = decide(&moved, NOW);
    assert_eq!(decision.notes.iter().map(|note| note.action).collect::<Vec<_>>(), ["device.hardware"]);
    let changed = decision.device.unwrap();
    assert_eq!((changed.serials.clone(), changed.known().serials), (vec!["S2".to_owned()], vec!["S1".to_owned()]));
    assert!(changed.hardware_changed() && changed.reason.contains("approve it again"), "{}", changed.reason);
    assert_eq!(changed.facts().serials, ["S1"], "what a configuration's target is compared with");
    let back = decide(&Facts { token: TokenFact::NotShown, known: Some(changed), ..facts() }, NOW).device.unwrap();
    assert!(!back.hardware_changed() && back.reason.is_empty(), "{}", back.reason);
}

#[test]
fn a_waiting_device_asks_less_and_less() {
    let retry = |waited: i64| match Verdict::pending(String::new(), Time::from_millis(0), Time::from_millis(waited * 1000)) {
        Verdict::Pending { retry_seconds, .. } => retry_seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 599, 600, 3600, 86_400].map(retry), [15, 15, 30, 60, 120]);
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let state = prop::option::of(prop::sample::select(DeviceState::ALL));
    let token = prop_oneof![
        Just(TokenFact::NotShown),
        Just(TokenFact::Unknown),
        (0u32..2).prop_map(|uses_left| TokenFact::Found(Box::new(Token { uses_left, ..token() })))
    ];
    let taken = prop::option::of(0u32..3);
    let kind = prop_oneof![Just(RuleKind::Manifest), Just(RuleKind::Serials(vec!["S1".into()]))];
    let kind = (kind, prop::sample::select(RuleOutcome::ALL));
    let policy = prop::sample::select(vec![Strangers::Refuse, Strangers::Wait]);
    (state, token, taken, prop::option::of((kind, any::<bool>())), policy, any::<bool>(), 0u64..3).prop_map(
        |(state, token, taken, kind, strangers, claimed, pending)| Facts {
            known: state.map(|state| Device { state, serials: vec!["S1".into()], ..device(1) }),
            token,
            places: taken
                .map(|by| Expected {
                    taken_by: (by > 0).then(|| device(by).id),
                    claimed_by: claimed.then(|| "user:kim".into()),
                    ..place()
                })
                .into_iter()
                .collect(),
            rules: kind
                .map(|((kind, outcome), without_token)| Rule { without_token, outcome, ..rule(kind) })
                .into_iter()
                .collect(),
            policy: Policy { strangers, pending_limit: 2 },
            pending,
            ..facts()
        },
    )
}

proptest! {
    #[test]
    fn every_decision_keeps_the_rules_of_the_house(facts in any_facts()) {
        let decision = decide(&facts, NOW);
        let before = facts.known.as_ref().map(|device| device.state);
        let after = decision.device.as_ref().map(|device| device.state);
        // What is told and what is kept agree.
        match &decision.verdict {
            Verdict::Pending { .. } => prop_assert_eq!(after, Some(DeviceState::Pending)),
            Verdict::Admitted { .. } => prop_assert_eq!(after, Some(DeviceState::Admitted)),
            Verdict::Refused { code, .. } => {
                let by_rule = facts.rules.iter().any(|rule| rule.outcome != RuleOutcome::Admit);
                prop_assert!(after.is_none_or(|after| by_rule && after.as_str() == *code), "{:?} is told {}", after, code);
            }
        }
        // Removed stays removed, refused and quarantined need a person.
        if matches!(before, Some(DeviceState::Removed | DeviceState::Refused | DeviceState::Quarantined)) {
            prop_assert!(matches!(decision.verdict, Verdict::Refused { .. }), "told {:?}", decision.verdict);
        }
        // Nobody loses what he has by calling.
        if before == Some(DeviceState::Admitted) {
            prop_assert_eq!(after, Some(DeviceState::Admitted));
        }
        // A token is used up only by somebody who is kept, and only one that is left.
        if decision.use_token.is_some() {
            prop_assert!(after.is_some());
            let is_left = matches!(&facts.token, TokenFact::Found(token) if token.uses_left > 0);
            prop_assert!(is_left);
        }
        // Who is admitted now showed a token, or a rule waived it; and the audit says who let him in.
        if after == Some(DeviceState::Admitted) && before != after {
            let proved = decision.device.as_ref().is_some_and(|device| device.token.is_some());
            prop_assert!(proved || facts.rules.iter().any(|rule| rule.without_token));
            prop_assert!(decision.notes.iter().any(|note| note.action == "device.approve"));
        }
        // A place that another device took is not given away.
        if decision.take_place.is_some() {
            prop_assert!(facts.places.iter().all(|place| place.taken_by.as_ref().is_none_or(|by| *by == facts.claims.id)));
        }
    }
}
