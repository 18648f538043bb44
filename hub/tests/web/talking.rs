//! A device with the real client behind which its own API answers: TLS with the device's key, client certificates of the fleet, and logs.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use api::LEAF_NAME;
use api::hub::proof_statement;
use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::v1::{HardwareResponse, LogLine, LogsRequest, StatusResponse};
use apid::phone_home::{EventQueue, Feed, HubReport, HubSettings, Node, Tcp, run};
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hub::cli::serve::Running;
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use machine_config::{DeviceId, SigningKey};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Whose client certificates a device takes.
pub struct ClientCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl ClientCa {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate and its key with this role, as files.
    pub fn certify(&self, folder: &Path, role: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.distinguished_name.push(DnType::OrganizationName, role);
        params.distinguished_name.push(DnType::CommonName, "hub");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let paths = (folder.join(format!("{role}.crt")), folder.join(format!("{role}.key")));
        std::fs::write(&paths.0, certificate.pem()).expect("written");
        std::fs::write(&paths.1, key.serialize_pem()).expect("written");
        paths
    }
}

/// The device.
pub struct Device {
    key: SigningKey,
    pin: [u8; 32],
    acceptor: TlsAcceptor,
    status: watch::Sender<Option<StatusResponse>>,
    /// Held, because the client ends with it.
    _settings: watch::Sender<Option<HubSettings>>,
    /// The services whose logs were asked for.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Device {
    /// Starts one that phones this hub.
    pub fn start(hub: &Running, key: SigningKey, ca: &ClientCa) -> Arc<Self> {
        let settings = HubSettings::from_wire(&api::internal::HubSettings {
            urls: vec![format!("https://{}", hub.address)],
            pin: hub.pin(),
            public_key: key.verifying_key().to_bytes().to_vec(),
            device_name: "talking".into(),
            ..api::internal::HubSettings::default()
        });
        let (held, settings) = watch::channel(Some(settings.expect("good settings")));
        let status = StatusResponse { phase: "healthy".into(), healthy: true, ..StatusResponse::default() };
        let device = Arc::new(Self {
            acceptor: TlsAcceptor::from(Arc::new(tls(&key, ca))),
            key,
            pin: hub.services.pin,
            status: watch::channel(Some(status)).0,
            _settings: held,
            asked: Arc::default(),
        });
        tokio::spawn(run(settings, Arc::clone(&device), Arc::new(Tcp), 1));
        device
    }

    pub fn id(&self) -> DeviceId {
        DeviceId::of(&self.key.verifying_key())
    }
}

/// A leaf under the device's identity, for callers that the fleet certified.
fn tls(key: &SigningKey, ca: &ClientCa) -> ServerConfig {
    let der = key.to_pkcs8_der().expect("encoded");
    let identity =
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der.as_bytes()), &PKCS_ED25519).expect("a key");
    let own = CertificateParams::new(vec!["device".to_owned()]).expect("a name");
    let certificate = own.self_signed(&identity).expect("signed").der().clone();
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec![LEAF_NAME.to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(own, identity)).expect("signed").der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().expect("a verifier");
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config =
        builder.with_client_cert_verifier(verifier).with_single_cert(vec![leaf, certificate], key).expect("they fit");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A message as gRPC frames it.
fn framed(message: &LogLine) -> Frame<Bytes> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).expect("short").to_be_bytes();
    Frame::data([&[0][..], &length, &encoded].concat().into())
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Three lines of a log, and then nothing for as long as somebody listens.
async fn logs(request: http::Request<Incoming>, asked: Arc<Mutex<Vec<String>>>) -> Result<http::Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/skerry.v1.Node/Logs");
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let wanted = LogsRequest::decode(&body[5..]).expect("a request");
    assert!(wanted.follow && wanted.tail > 0);
    asked.lock().expect("not poisoned").push(wanted.service);
    let line = |text: &str| LogLine { line: text.into(), ..LogLine::default() };
    let lines =
        [line("starting"), line("<script>window.taken=1</script>"), line("listening on 10.4.0.12")].map(|line| Ok(framed(&line)));
    let body = StreamBody::new(stream::iter(lines).chain(stream::pending()));
    let response = http::Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body.boxed_unsync()).expect("a response"))
}

impl Node for Device {
    type Tunnel = DuplexStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        Ok(self.key.sign(&proof_statement(&self.pin, &nonce, &exporter)).to_bytes())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        Ok(HardwareResponse { serial: "TALK1".into(), ..HardwareResponse::default() })
    }

    async fn offer_config(&self, _: Vec<u8>) -> ConfigOutcome {
        ConfigOutcome::default()
    }

    async fn resources(&self) -> Option<ResourceUse> {
        None
    }

    fn feed(&self) -> Feed {
        Feed { status: self.status.subscribe(), events: EventQueue::default() }
    }

    fn open_tunnel(&self, _: &str) -> Result<DuplexStream, String> {
        let (ours, theirs) = tokio::io::duplex(16 << 10);
        let (acceptor, asked) = (self.acceptor.clone(), Arc::clone(&self.asked));
        tokio::spawn(async move {
            let tls = acceptor.accept(theirs).await.map_err(|error| error.to_string())?;
            let service = hyper::service::service_fn(move |request| logs(request, Arc::clone(&asked)));
            let serving =
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service);
            serving.await.map_err(|error| error.to_string())
        });
        Ok(ours)
    }

    fn report(&self, _: HubReport) {}
}
