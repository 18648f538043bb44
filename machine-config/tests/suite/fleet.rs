//! The fleet and the device that the tests are about.

use machine_config::types::Generation;
use machine_config::{Accepted, DeviceFacts, Digest, FleetTrust, PublicKey, SigningKey, Trust};

/// The fleet's key.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Whom the device obeys.
pub(crate) fn trust() -> Trust {
    let key = PublicKey::try_from(key().verifying_key()).unwrap();
    FleetTrust { name: "acme".parse().unwrap(), keys: vec![key] }.trust()
}

/// The device.
pub(crate) fn facts() -> DeviceFacts {
    DeviceFacts {
        device_id: Digest::of(b"device").as_str().parse().unwrap(),
        serials: vec!["FZ1234567".into()],
        macs: vec!["52:54:00:12:34:56".parse().unwrap()],
    }
}

/// What the device accepted last: generation 7, of other bytes than any test has.
pub(crate) fn accepted() -> Accepted {
    Accepted { generation: Generation::try_from(7).unwrap(), digest: Digest::of(b"accepted before") }
}

/// A document the device takes.
pub(crate) const GOOD: &str = "\
apiVersion: skerry.dev/v1alpha1
kind: MachineConfig
metadata: {name: store-0421-a, fleet: acme, generation: 8}
target: {serial: FZ1234567}
api: {clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}
";
