//! Whether what answers is the hub: by the pin of its key, or, without a pin, by the authorities this host trusts. There is no third way.

use std::path::PathBuf;
use std::sync::Arc;

use machine_config::types::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use peer_tls::{Judge, provider};

/// Where hosts keep their certificate authorities, in the order looked at after `SSL_CERT_FILE`.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// Who the hub must be.
#[derive(Debug, Clone)]
pub enum HubTrust {
    /// Whoever holds the key with this pin. Names, dates and authorities do not count.
    Pin(Digest),
    /// Whoever shows a certificate for the hub's name that an authority of this host signed.
    Authorities(Arc<WebPkiServerVerifier>),
    /// Nobody: this host knows no authorities.
    Nobody,
}

/// Why what answers is not taken for the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubTrustError {
    /// Another key than the pinned one.
    #[error("another key answers: its pin is {found}, expected {expected}")]
    OtherKey {
        /// The pin that was given.
        expected: Digest,
        /// That of the key that answered.
        found: Digest,
    },
    /// No authority vouches for it.
    #[error("no authority that this host trusts vouches for it ({reason}); its key's pin is {found}")]
    Unvouched {
        /// The pin of the key that answered.
        found: Digest,
        /// What is wrong with the certificate.
        reason: String,
    },
}

impl HubTrust {
    /// The pin if there is one, else this host's authorities.
    pub fn of(pin: Option<Digest>) -> Self {
        match pin {
            Some(pin) => Self::Pin(pin),
            None => {
                let roots = Arc::new(host_authorities());
                match WebPkiServerVerifier::builder_with_provider(roots, provider()).build() {
                    Ok(verifier) => Self::Authorities(verifier),
                    // It takes at least one authority.
                    Err(_) => Self::Nobody,
                }
            }
        }
    }

    fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Result<(), HubTrustError>, Error> {
        let [leaf, intermediates @ ..] = chain else { return Err(CertificateError::BadEncoding.into()) };
        let found = Digest::of(&ParsedCertificate::try_from(leaf)?.subject_public_key_info());
        Ok(match self {
            Self::Pin(expected) if *expected == found => Ok(()),
            Self::Pin(expected) => Err(HubTrustError::OtherKey { expected: expected.clone(), found }),
            Self::Authorities(verifier) => match verifier.verify_server_cert(leaf, intermediates, name, &[], now) {
                Ok(_) => Ok(()),
                Err(error) => Err(HubTrustError::Unvouched { found, reason: error.to_string() }),
            },
            Self::Nobody => Err(HubTrustError::Unvouched { found, reason: "it has no list of authorities".into() }),
        })
    }
}

impl Judge for HubTrust {
    fn judge(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        self.admit(chain, name, now)?.map_err(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
    }
}

/// The [`HubTrustError`] that a handshake ended with, if it did.
pub(super) fn trust_error(error: &Error) -> Option<HubTrustError> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref().cloned(),
        _ => None,
    }
}

/// Those of the first bundle that can be read. Single authorities that this library does not understand are left out.
fn host_authorities() -> RootCertStore {
    let stated = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let files = stated.into_iter().chain(BUNDLES.iter().map(PathBuf::from));
    let pem = files.filter_map(|file| std::fs::read(file).ok()).find(|pem| !pem.is_empty()).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    roots
}
