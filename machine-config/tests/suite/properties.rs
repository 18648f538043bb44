//! What must hold for any input.

use machine_config::seed::{self, FleetTrust, Seed};
use machine_config::types::{HostName, Secret};
use machine_config::{PublicKey, compare, judge, parse, sign, write};
use proptest::prelude::*;

use crate::fleet;

/// Documents the device takes, of many shapes.
fn documents() -> impl Strategy<Value = String> {
    let comment = "[ -~äß]{0,40}";
    let sysctl = prop::option::of("[ -~]{1,30}");
    (8u64..u64::MAX, comment, "[a-z][a-z0-9]{0,20}", sysctl, prop::option::of(68u32..9000)).prop_map(
        |(generation, comment, name, sysctl, mtu)| {
            let mut text =
                fleet::GOOD.replace("generation: 8", &format!("generation: {generation}")).replace("store-0421-a", &name);
            text += &format!("# {comment}\nmachine:\n  network:\n    interfaces:\n      - name: eth0\n        dhcp4: true\n");
            text += &mtu.map(|mtu| format!("        mtu: {mtu}\n")).unwrap_or_default();
            text += &sysctl.map(|value| format!("  sysctls:\n    net.core.x: {value:?}\n")).unwrap_or_default();
            text
        },
    )
}

fn accepts(file: &[u8]) -> bool {
    judge(file, &fleet::trust(), &fleet::facts(), Some(&fleet::accepted())).is_ok()
}

proptest! {
    #[test]
    fn what_is_signed_is_accepted_with_its_exact_bytes(document in documents()) {
        let file = sign(document.as_bytes(), &fleet::key()).unwrap();
        let verified = judge(&file, &fleet::trust(), &fleet::facts(), Some(&fleet::accepted())).unwrap();
        prop_assert_eq!(verified.bytes(), &file[..]);
        prop_assert_eq!(verified.content(), &parse(document.as_bytes()).unwrap());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!accepts(&bytes));
    }

    #[test]
    fn any_text_is_parsed_without_a_panic(text in "[a-z0-9:{}\\[\\]&*!|>'\"#%@,? \\n\\t~<-]{0,300}") {
        let _ = parse(text.as_bytes());
        let _ = sign(text.as_bytes(), &fleet::key());
        let _ = judge(text.as_bytes(), &fleet::trust(), &fleet::facts(), None);
    }

    #[test]
    fn any_signed_text_is_judged_without_a_panic(tail in "[a-z0-9:{}\\[\\]|>'\"#, \\n-]{0,200}") {
        if let Ok(file) = sign(format!("{}{tail}", fleet::GOOD).as_bytes(), &fleet::key()) {
            let _ = accepts(&file);
        }
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself(document in documents()) {
        let config = parse(document.as_bytes()).unwrap();
        prop_assert_eq!(compare(Some(&config), &config), vec![]);
        prop_assert_eq!(parse(write(&config).as_bytes()).unwrap(), config);
    }

    #[test]
    fn changes_forth_and_back_are_the_same_changes(a in documents(), b in documents()) {
        let (a, b) = (parse(a.as_bytes()).unwrap(), parse(b.as_bytes()).unwrap());
        let forth = compare(Some(&a), &b).into_iter().map(|change| (change.path, change.old, change.new));
        let back = compare(Some(&b), &a).into_iter().map(|change| (change.path, change.new, change.old));
        prop_assert!(forth.eq(back));
    }

    #[test]
    fn a_seed_reads_back_and_survives_the_loss_of_either_copy(
        name in prop::option::of("[a-z]{1,20}"),
        token in prop::option::of(".{1,40}"),
        config in prop::option::of(prop::collection::vec(any::<u8>(), 0..2000)),
        damage in 0..seed::COPY_BYTES,
        flip in 1u8..,
    ) {
        let key = PublicKey::try_from(fleet::key().verifying_key()).unwrap();
        let seed = Seed {
            fleet: FleetTrust { name: "acme".parse().unwrap(), keys: vec![key] },
            hub: None,
            join_token: token.map(Secret::from),
            device_name: name.map(|name| name.parse::<HostName>().unwrap()),
            config,
            identity: None,
        };
        let whole = seed::encode(&seed).unwrap();
        let decoded = seed::decode(&whole).unwrap();
        prop_assert!(decoded.damaged.is_none() && !decoded.differing);
        prop_assert_eq!(&decoded.seed, &seed);
        for at in [damage, damage + seed::COPY_BYTES] {
            let mut partition = whole.clone();
            partition[at] ^= flip;
            let decoded = seed::decode(&partition).unwrap();
            prop_assert_eq!(&decoded.seed, &seed);
            prop_assert!(decoded.damaged.is_some());
        }
    }
}

#[test]
fn any_single_flipped_byte_is_refused() {
    let file = sign(fleet::GOOD.as_bytes(), &fleet::key()).unwrap();
    assert!(accepts(&file));
    for at in 0..file.len() {
        for value in 0..=u8::MAX {
            let mut flipped = file.clone();
            flipped[at] = value;
            assert_eq!(accepts(&flipped), flipped == file, "byte {at} set to {value}");
        }
    }
}

#[test]
fn any_cut_and_any_appended_byte_is_refused() {
    let file = sign(fleet::GOOD.as_bytes(), &fleet::key()).unwrap();
    assert!((0..file.len()).all(|end| !accepts(&file[..end])));
    assert!((0..=u8::MAX).all(|byte| !accepts(&[&file[..], &[byte]].concat())));
}
