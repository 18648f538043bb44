//! A fleet, its keys and its configurations, for tests.

use machine_config::{FleetTrust, PublicKey, SigningKey};

/// A key that every run of the tests has.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Its public half.
pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::try_from(key(seed).verifying_key()).expect("strong")
}

/// The fleet `acme` with that key.
pub(crate) fn fleet(seed: u8) -> FleetTrust {
    FleetTrust { name: "acme".parse().expect("a name"), keys: vec![public(seed)] }
}

/// A configuration of `fleet` signed with a key.
pub(crate) fn config(name: &str, target: &str, fleet: &str, seed: u8) -> Vec<u8> {
    signed(name, target, fleet, seed, "")
}

/// One of the fleet `acme` signed with its first key, with more at its end.
pub(crate) fn config_with(name: &str, target: &str, more: &str) -> Vec<u8> {
    signed(name, target, "acme", 1, more)
}

fn signed(name: &str, target: &str, fleet: &str, seed: u8, more: &str) -> Vec<u8> {
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: {name}, fleet: {fleet}, generation: 1}}\n\
         target: {{{target}}}\napi: {{clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}}\n{more}"
    );
    machine_config::sign(text.as_bytes(), &key(seed)).expect("signed")
}
