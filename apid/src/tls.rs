//! The TLS side of the listener: TLS 1.3 only, the device's certificate chain, client certificates once a CA is known.

use std::sync::Arc;

use api::internal::Settings;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};

/// Why the settings make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The client CA is not PEM.
    #[error("cannot read api.clientCa: it is not a PEM certificate")]
    ClientCaPem(#[source] rustls::pki_types::pem::Error),
    /// The client CA's certificate is no CA.
    #[error("cannot use a certificate of api.clientCa")]
    ClientCa(#[source] rustls::Error),
    /// No verifier can be made of the client CAs.
    #[error("cannot verify client certificates with api.clientCa")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The device's own certificate or key is unusable.
    #[error("cannot use the device's certificate")]
    Certificate(#[source] rustls::Error),
}

/// Builds the server side of TLS from what init said.
///
/// With a client CA, a shown certificate must verify against it or the handshake fails; a caller that shows none connects and is
/// refused at each call with a message that says why. In maintenance no certificate is asked for: there is nothing to judge it by.
pub fn server_config(settings: &Settings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3 suites");
    let roots = client_roots(settings)?;
    let builder = if roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(TlsError::Verifier)?;
        builder.with_client_cert_verifier(verifier)
    };
    let chain = settings.certificate_chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(settings.private_key.clone()));
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the client certificate's check; each connection proves itself anew.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

fn client_roots(settings: &Settings) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if settings.maintenance {
        return Ok(roots);
    }
    for certificate in CertificateDer::pem_slice_iter(&settings.client_ca) {
        roots.add(certificate.map_err(TlsError::ClientCaPem)?).map_err(TlsError::ClientCa)?;
    }
    Ok(roots)
}
