//! Which devices the client talks to: the one meant, and nobody else.

use std::time::Duration;

use client::trust::{Trust, TrustError};
use client::{ConnectError, ConnectOptions, NodeClient, connect};
use ctl::failure::{Exit, Explain};

use crate::fake::{Chain, Fake, Setup, TLS12_SERVER_HELLO, parrot};

fn try_connect(address: &str, trust: Trust) -> Result<NodeClient, ConnectError> {
    let options = ConnectOptions { address: address.parse().unwrap(), trust, identity: None, timeout: Duration::from_secs(5) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(connect(options))
}

fn with_chain(chain: Chain, trust: Trust) -> Result<NodeClient, ConnectError> {
    try_connect(&Fake::start(Setup { chain, ..Setup::default() }).node(), trust)
}

#[track_caller]
fn trust_error(result: Result<NodeClient, ConnectError>) -> TrustError {
    match result {
        Err(ConnectError::Trust { source, .. }) => source,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("connected"),
    }
}

#[test]
fn the_device_meant_is_admitted_and_gives_its_id() {
    let fake = Fake::start(Setup::default());
    let node = try_connect(&fake.node(), Trust::Device(fake.id.clone())).unwrap();
    assert_eq!(*node.device_id(), fake.id);
}

#[test]
fn another_device_is_refused_with_both_ids() {
    let other: machine_config::DeviceId = "b".repeat(64).parse().unwrap();
    let fake = Fake::start(Setup::default());
    let error = trust_error(try_connect(&fake.node(), Trust::Device(other.clone())));
    assert_eq!(error, TrustError::Mismatch { expected: other, found: fake.id });
}

#[test]
fn an_unknown_device_is_refused_unless_first_use_is_trusted() {
    let fake = Fake::start(Setup::default());
    let error = trust_error(try_connect(&fake.node(), Trust::Nobody));
    assert_eq!(error, TrustError::Unknown { found: fake.id.clone() });
    assert_eq!(*try_connect(&fake.node(), Trust::FirstUse).unwrap().device_id(), fake.id);
}

#[test]
fn an_identity_that_is_shown_but_not_proved_is_refused() {
    // What an eavesdropper can do: show the device's own identity certificate beside a leaf of its own.
    let id = Fake::start(Setup::default()).id;
    assert_eq!(trust_error(with_chain(Chain::UnprovenLeaf, Trust::Device(id))), TrustError::Unproven);
    assert_eq!(trust_error(with_chain(Chain::UnprovenLeaf, Trust::FirstUse)), TrustError::Unproven);
}

#[test]
fn chains_of_another_form_are_not_a_devices() {
    for chain in [Chain::LeafOnly, Chain::IdentityNotSelfSigned, Chain::WrongName] {
        let error = trust_error(with_chain(chain, Trust::FirstUse));
        assert!(matches!(error, TrustError::NotADevice(_)), "{error}");
    }
}

#[test]
fn tls_1_2_is_refused() {
    let error = try_connect(&parrot(&TLS12_SERVER_HELLO).to_string(), Trust::FirstUse).unwrap_err();
    assert!(matches!(error, ConnectError::NotTls13 { .. }), "{error:?}");
    assert_eq!(error.exit(), Exit::Unreachable);
}

#[test]
fn a_server_that_is_no_tls_server_is_named_as_such() {
    let error = try_connect(&parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n").to_string(), Trust::FirstUse).unwrap_err();
    assert!(matches!(error, ConnectError::NotTls13 { .. }), "{error:?}");
}
