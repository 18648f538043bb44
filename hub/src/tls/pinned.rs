//! Calling another process of the hub: whoever answers must hold the hub's own key. Names, dates and authorities do not count.

use peer_tls::Judge;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, Error};

/// Accepts one key.
#[derive(Debug)]
struct OneKey([u8; 32]);

/// TLS 1.3 to whoever holds the key with this pin, with this one protocol inside.
pub fn pinned_client(pin: [u8; 32], alpn: &[u8]) -> ClientConfig {
    peer_tls::speaking(peer_tls::judged_by(OneKey(pin)).with_no_client_auth(), [alpn])
}

impl Judge for OneKey {
    fn judge(&self, chain: &[CertificateDer<'_>], _: &ServerName<'_>, _: UnixTime) -> Result<(), Error> {
        let leaf = chain.first().ok_or(CertificateError::BadEncoding)?;
        // The same reader as in the signature's verification: both see one key.
        if api::hub::pin(&ParsedCertificate::try_from(leaf)?.subject_public_key_info()) == self.0 {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
}
