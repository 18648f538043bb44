//! The device protocol of the hub: generated types, and what both sides must agree on to the byte. Pure.

use sha2::{Digest, Sha256};

/// `skerry.hub.v1`: what a device and its hub say to each other.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from proto/skerry/hub/v1/devices.proto, documented there"
)]
pub mod v1 {
    tonic::include_proto!("skerry.hub.v1");
}

/// The version of the protocol in this file.
pub const PROTOCOL: u32 = 1;
/// TLS exporter label (RFC 8446, section 7.5; no context) whose output ties a proof to one TLS channel.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-skerry-hub-session-1";
/// Bytes taken from the exporter.
pub const EXPORTER_BYTES: usize = 32;
/// Bytes of the hub's nonce.
pub const NONCE_BYTES: usize = 32;
/// Bytes of one message at most, in either direction: a configuration and what surrounds it.
pub const MAX_MESSAGE_BYTES: usize = 320 << 10;
/// Bytes that either side may send into a new tunnel before the other has given credit.
pub const TUNNEL_WINDOW_BYTES: u32 = 64 << 10;
/// Bytes of one piece of a tunnel at most.
pub const TUNNEL_PIECE_BYTES: usize = 16 << 10;
/// Tunnels of one device at once.
pub const MAX_TUNNELS: usize = 8;
/// TCP port of a hub whose address names none.
pub const DEFAULT_PORT: u16 = 443;
/// What a device offers in its TLS greeting (ALPN), and nobody else: with it the hub shows the key that devices pin, and speaks HTTP/2.
pub const DEVICE_ALPN: &[u8] = b"skerry-hub-1";

/// No other use of a device's key signs bytes that begin like this.
const PROOF_CONTEXT: &[u8] = b"skerry.dev/hub-session/v1\0";

/// The bytes a device signs to prove its key to a hub: context, then the SHA-256 of the hub's SubjectPublicKeyInfo (its pin), the hub's
/// nonce and the TLS exporter, 32 bytes each. Whoever relays the proof ends another TLS channel, or is another hub: the bytes differ.
pub fn proof_statement(hub_pin: &[u8; 32], nonce: &[u8; NONCE_BYTES], exporter: &[u8; EXPORTER_BYTES]) -> Vec<u8> {
    [PROOF_CONTEXT, hub_pin, nonce, exporter].concat()
}

/// A hub's pin: SHA-256 of the SubjectPublicKeyInfo (DER) of its key.
pub fn pin(subject_public_key_info: &[u8]) -> [u8; 32] {
    Sha256::digest(subject_public_key_info).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_has_these_bytes() {
        let statement = proof_statement(&[1; 32], &[2; 32], &[3; 32]);
        assert_eq!(&statement[..26], b"skerry.dev/hub-session/v1\0");
        assert_eq!(&statement[26..], [[1u8; 32], [2; 32], [3; 32]].concat());
    }

    #[test]
    fn a_configuration_fits_a_message() {
        const { assert!(MAX_MESSAGE_BYTES > machine_config::MAX_CONFIG_BYTES + (16 << 10)) };
    }
}
