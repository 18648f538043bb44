//! What apid presents: a leaf made at each boot, certified by the identity key. The identity key itself never leaves init.
//!
//! Certificates run from 1970 to 9999: trust is by key, and a device without a clock must be reachable.

use api::LEAF_NAME;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::node::{ApidSettings, InForce};
use crate::state::Identity;

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The identity key does not encode.
    #[error("cannot encode the identity key")]
    Key(#[source] ed25519_dalek::pkcs8::Error),
    /// The certificate does not encode.
    #[error("cannot make the API's certificate")]
    Certificate(#[from] rcgen::Error),
}

/// One boot's leaf and its chain.
#[derive(Clone)]
pub struct Leaf {
    chain: Vec<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    device_id: String,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

impl Leaf {
    /// Makes a fresh key and certifies it.
    pub fn issue(identity: &Identity) -> Result<Self, TlsError> {
        let device_id = identity.device_id().to_string();
        let pkcs8 = identity.signing_key().to_pkcs8_der().map_err(TlsError::Key)?;
        let identity_key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_bytes()), &PKCS_ED25519)?;
        let identity_params = identity_params(&device_id)?;
        let identity_certificate = identity_params.self_signed(&identity_key)?;
        let leaf_key = KeyPair::generate_for(&PKCS_ED25519)?;
        let leaf = leaf_params()?.signed_by(&leaf_key, &Issuer::from_params(&identity_params, &identity_key))?;
        Ok(Self {
            chain: vec![leaf.der().to_vec(), identity_certificate.der().to_vec()],
            key: Zeroizing::new(leaf_key.serialize_der()),
            device_id,
        })
    }
}

fn identity_params(device_id: &str) -> Result<CertificateParams, TlsError> {
    let mut params = params(Vec::new(), device_id)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf_params() -> Result<CertificateParams, TlsError> {
    let mut params = params(vec![LEAF_NAME.to_owned()], LEAF_NAME)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    Ok(params)
}

/// What apid serves with under this configuration. Whom it phones is added by whoever knows SEED.
pub fn settings(leaf: &Leaf, in_force: Option<&InForce>) -> ApidSettings {
    let api = in_force.map(|current| &current.config.api);
    let port = api.and_then(|api| api.port).unwrap_or(api::DEFAULT_PORT);
    ApidSettings {
        certificate_chain: leaf.chain.clone(),
        private_key: leaf.key.clone(),
        client_ca: api.map(|api| api.client_ca.clone()).unwrap_or_default(),
        maintenance: in_force.is_none(),
        listen: format!("[::]:{port}"),
        device_id: leaf.device_id.clone(),
        hub: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `needle` stands in a DER encoding: enough to see which names and keys a certificate carries.
    fn contains(der: &[u8], needle: &[u8]) -> bool {
        der.windows(needle.len()).any(|window| window == needle)
    }

    #[test]
    fn the_chain_ends_in_the_identity_key() {
        let identity = Identity::generate().expect("random bytes");
        let leaf = Leaf::issue(&identity).expect("a certificate");
        assert_eq!(leaf.chain.len(), 2);
        let public = identity.signing_key().verifying_key().to_bytes();
        assert!(contains(&leaf.chain[1], &public));
        assert!(!contains(&leaf.chain[0], &public), "the leaf has a key of its own");
        assert!(contains(&leaf.chain[0], LEAF_NAME.as_bytes()));
        assert!(contains(&leaf.chain[1], identity.device_id().as_str().as_bytes()));
    }

    #[test]
    fn every_boot_has_another_leaf() {
        let identity = Identity::generate().expect("random bytes");
        let (one, two) = (Leaf::issue(&identity).expect("one"), Leaf::issue(&identity).expect("two"));
        assert_ne!(one.key, two.key);
    }

    #[test]
    fn without_a_configuration_apid_serves_maintenance() {
        let leaf = Leaf::issue(&Identity::generate().expect("random bytes")).expect("a certificate");
        let settings = settings(&leaf, None);
        assert!(settings.maintenance && settings.client_ca.is_empty());
        assert_eq!(settings.listen, "[::]:7440");
    }
}
