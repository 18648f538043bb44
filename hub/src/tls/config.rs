//! What the hub shows to whom: its own certificate to devices, the web certificate to everyone else, where there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::hub::DEVICE_ALPN;
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ServerConfig};

use super::HubKey;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the web certificate is not there, or not PEM.
    #[error("cannot read {what} from {}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("cannot use {} as certificate: it holds none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not fit, or are of a kind that cannot be used.
    #[error("cannot serve TLS with {whose}")]
    Unusable {
        /// Whose they are.
        whose: &'static str,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate that browsers see, and its key.
#[derive(Debug)]
pub struct WebCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl WebCertificate {
    /// Reads both from PEM files.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { what, path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed("the web certificate", certificate))?;
        if chain.is_empty() {
            return Err(TlsError::Empty { path: certificate.to_owned() });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(failed("the web certificate's key", key))?;
        Ok(Self { chain, key })
    }
}

/// What there is to show.
#[derive(Debug)]
pub struct Certificates<'a> {
    /// The hub's own key.
    pub hub: &'a HubKey,
    /// What browsers see; none: the hub's own certificate, whose pin `skerryctl` knows.
    pub web: Option<WebCertificate>,
}

/// What another process of the hub offers in its greeting: HTTP/1.1, behind the key that only the hub has.
pub const REPLICA_ALPN: &[u8] = b"skerry-hub-replica-1";

/// What browsers, `skerryctl` and others offer.
const WEB_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The sides of the one port.
#[derive(Debug, Clone)]
pub struct TlsConfigs {
    device: Arc<ServerConfig>,
    replica: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    /// For whoever cannot read an Ed25519 certificate; none: `web` is for everybody.
    browser: Option<Arc<ServerConfig>>,
}

/// Who calls, by the first thing he says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Offers what only devices offer.
    Device,
    /// A browser, `skerryctl`, another replica.
    Web,
}

impl TlsConfigs {
    /// Makes them.
    pub fn new(certificates: Certificates<'_>) -> Result<Self, TlsError> {
        let own = |whose| (vec![certificates.hub.certificate().clone()], certificates.hub.private_key(), whose);
        let (chain, key, whose) = own("the hub's key");
        let device = config(chain, key, &[DEVICE_ALPN], whose)?;
        let (chain, key, whose) = own("the hub's key");
        let replica = config(chain, key, &[REPLICA_ALPN], whose)?;
        let (chain, key, whose) = match certificates.web {
            Some(web) => (web.chain, web.key, "the web certificate"),
            None => own("the hub's key"),
        };
        let web = config(chain, key, WEB_ALPN, whose)?;
        Ok(Self { device: Arc::new(device), replica: Arc::new(replica), web: Arc::new(web), browser: None })
    }

    /// Shows this to whoever cannot read the hub's own certificate: browsers take no Ed25519.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn with_browser(self, certificate: WebCertificate) -> Result<Self, TlsError> {
        let browser = config(certificate.chain, certificate.key, WEB_ALPN, "the certificate for browsers")?;
        Ok(Self { browser: Some(Arc::new(browser)), ..self })
    }

    /// Who greets like this, and what is shown to him.
    pub fn choose(&self, hello: &ClientHello<'_>) -> (Caller, Arc<ServerConfig>) {
        let offers = |wanted| hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == wanted));
        if offers(DEVICE_ALPN) {
            return (Caller::Device, Arc::clone(&self.device));
        }
        let config = match &self.browser {
            _ if offers(REPLICA_ALPN) => &self.replica,
            Some(browser) if !hello.signature_schemes().contains(&SignatureScheme::ED25519) => browser,
            Some(_) | None => &self.web,
        };
        (Caller::Web, Arc::clone(config))
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
    whose: &'static str,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3 suites")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Unusable { whose, source })?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // No session is resumed, so none is kept: memory does not grow with callers.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
