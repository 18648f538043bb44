//! Whether the device that answers is the one meant. This is the only place that decides it.
//!
//! A device shows two certificates: a leaf whose key lives for one boot, and the self-signed certificate of the device's identity
//! key, which signed the leaf. The device's id is the SHA-256 of that key's 32 bytes. Names and dates are not trusted: the address
//! a device answers at changes, and a device without a clock must be reachable.

use std::sync::Arc;

use api::LEAF_NAME;
use ed25519_dalek::{Signature, VerifyingKey};
use machine_config::types::DeviceId;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, OtherError};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use peer_tls::Judge;

/// Which device is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// This one only.
    Device(DeviceId),
    /// Whichever answers: the caller remembers its id and tells a person to compare it.
    FirstUse,
    /// None: the connection ends once the id is known, before anything is sent.
    Nobody,
}

/// Why a device is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The certificates are not those of a Skerry device.
    #[error("what answers is not a Skerry device: {0}")]
    NotADevice(&'static str),
    /// The leaf is not signed by the identity shown beside it.
    #[error("the device shows an identity it does not prove: its certificate is not signed by the identity key")]
    Unproven,
    /// Another device than the one meant.
    #[error("another device answers: expected {expected}, found {found}")]
    Mismatch {
        /// The id that was asked for or remembered.
        expected: DeviceId,
        /// The id proved.
        found: DeviceId,
    },
    /// A device whose id nobody has vouched for.
    #[error("the device {found} is not known yet")]
    Unknown {
        /// The id proved.
        found: DeviceId,
    },
}

/// The id that a certificate chain proves, or why it proves none.
pub fn identify(chain: &[CertificateDer<'_>]) -> Result<DeviceId, TrustError> {
    let [leaf, identity] = chain else {
        return Err(TrustError::NotADevice("it does not show a leaf and an identity certificate"));
    };
    let identity = parse(identity)?;
    let key = identity_key(&identity)?;
    if !is_signed_by(&identity, &key) {
        return Err(TrustError::NotADevice("its identity certificate is not self-signed"));
    }
    let parsed_leaf = parse(leaf)?;
    if !is_signed_by(&parsed_leaf, &key) {
        return Err(TrustError::Unproven);
    }
    // The identity key may sign other things in time; only what is named so is a server's certificate.
    let name = ServerName::try_from(LEAF_NAME).expect("a constant DNS name");
    let named = ParsedCertificate::try_from(leaf).and_then(|leaf| rustls::client::verify_server_name(&leaf, &name));
    named.map_err(|_| TrustError::NotADevice("its certificate does not bear the name `skerry`"))?;
    Ok(DeviceId::of(&key))
}

impl Trust {
    /// Judges a proved id.
    pub fn admit(&self, found: DeviceId) -> Result<DeviceId, TrustError> {
        match self {
            Self::Device(expected) if *expected == found => Ok(found),
            Self::Device(expected) => Err(TrustError::Mismatch { expected: expected.clone(), found }),
            Self::FirstUse => Ok(found),
            Self::Nobody => Err(TrustError::Unknown { found }),
        }
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TrustError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(TrustError::NotADevice("a certificate cannot be read")),
    }
}

fn identity_key(certificate: &X509Certificate<'_>) -> Result<VerifyingKey, TrustError> {
    let info = certificate.public_key();
    let bytes: Result<[u8; 32], _> = info.subject_public_key.data.as_ref().try_into();
    match bytes {
        Ok(bytes) if info.algorithm.algorithm == OID_SIG_ED25519 => {
            VerifyingKey::from_bytes(&bytes).map_err(|_| TrustError::NotADevice("its identity key is not a point of the curve"))
        }
        Ok(_) | Err(_) => Err(TrustError::NotADevice("its identity key is not Ed25519")),
    }
}

fn is_signed_by(certificate: &X509Certificate<'_>, key: &VerifyingKey) -> bool {
    let signature = Signature::from_slice(&certificate.signature_value.data);
    certificate.signature_algorithm.algorithm == OID_SIG_ED25519
        && signature.is_ok_and(|signature| key.verify_strict(certificate.tbs_certificate.as_ref(), &signature).is_ok())
}

impl Judge for Trust {
    fn judge(&self, chain: &[CertificateDer<'_>], _: &ServerName<'_>, _: UnixTime) -> Result<(), rustls::Error> {
        match identify(chain).and_then(|id| self.admit(id)) {
            Ok(_) => Ok(()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }
}

/// The [`TrustError`] that the handshake ended with, if it did.
pub(crate) fn trust_error(error: &rustls::Error) -> Option<TrustError> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref().cloned(),
        _ => None,
    }
}
