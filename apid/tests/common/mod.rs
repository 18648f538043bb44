//! A pretended init on a unix socket, a fleet's certificates, and a client: what the tests of the listener need.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use api::internal::daemon_server::{Daemon, DaemonServer};
use api::internal::{
    OfferConfigRequest, OfferConfigResponse, ProveToHubRequest, ProveToHubResponse, ReportHubRequest, ReportHubResponse,
    ReportListeningRequest, ReportListeningResponse, Settings, WatchSettingsRequest,
};
use api::v1::node_client::NodeClient;
use api::v1::{HardwareRequest, HardwareResponse};
use ed25519_dalek::Signer;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

/// A certificate with its key, as a client shows it.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
}

/// A CA that signs client certificates.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

fn named(name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key")
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = named(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, name: &str, organisation: &str, last_year: i32) -> Identity {
        let mut params = named(name, Some(organisation));
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    }
}

/// The pretended init and the daemon under test.
pub(crate) struct Device {
    settings: watch::Sender<Settings>,
    address: watch::Receiver<String>,
    /// What init was told last of the hub.
    pub(crate) standing: watch::Receiver<ReportHubRequest>,
    identity: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

struct PretendedInit {
    settings: watch::Receiver<Settings>,
    address: watch::Sender<String>,
    standing: watch::Sender<ReportHubRequest>,
}

/// The key that the pretended device proves to hubs.
pub(crate) fn hub_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

#[tonic::async_trait]
impl Daemon for PretendedInit {
    type WatchSettingsStream = Pin<Box<dyn Stream<Item = Result<Settings, tonic::Status>> + Send>>;

    async fn watch_settings(
        &self,
        _: tonic::Request<WatchSettingsRequest>,
    ) -> Result<tonic::Response<Self::WatchSettingsStream>, tonic::Status> {
        Ok(tonic::Response::new(Box::pin(WatchStream::new(self.settings.clone()).map(Ok))))
    }

    async fn report_listening(
        &self,
        request: tonic::Request<ReportListeningRequest>,
    ) -> Result<tonic::Response<ReportListeningResponse>, tonic::Status> {
        self.address.send_replace(request.into_inner().address);
        Ok(tonic::Response::new(ReportListeningResponse {}))
    }

    async fn prove_to_hub(
        &self,
        request: tonic::Request<ProveToHubRequest>,
    ) -> Result<tonic::Response<ProveToHubResponse>, tonic::Status> {
        let pin = self.settings.borrow().hub.as_ref().map(|hub| hub.pin.clone());
        let pin = pin.ok_or_else(|| tonic::Status::failed_precondition("this device has no hub"))?;
        let bytes = |text: &[u8]| <[u8; 32]>::try_from(text).expect("32 bytes");
        let ProveToHubRequest { nonce, exporter } = request.into_inner();
        let pin = bytes(&hex::decode(pin).expect("a pin"));
        let signature = hub_key().sign(&api::hub::proof_statement(&pin, &bytes(&nonce), &bytes(&exporter)));
        Ok(tonic::Response::new(ProveToHubResponse { signature: signature.to_vec() }))
    }

    async fn offer_config(
        &self,
        request: tonic::Request<OfferConfigRequest>,
    ) -> Result<tonic::Response<OfferConfigResponse>, tonic::Status> {
        match request.into_inner().config.as_slice() {
            b"busy" => Err(tonic::Status::resource_exhausted("later")),
            _ => Ok(tonic::Response::new(OfferConfigResponse { code: "envelope".into(), ..OfferConfigResponse::default() })),
        }
    }

    async fn report_hub(
        &self,
        request: tonic::Request<ReportHubRequest>,
    ) -> Result<tonic::Response<ReportHubResponse>, tonic::Status> {
        self.standing.send_replace(request.into_inner());
        Ok(tonic::Response::new(ReportHubResponse {}))
    }
}

/// Answers for the hardware; any other method with an error that says in headers who the call was said to come from.
async fn echo(daemon: Routes, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    if request.uri().path().starts_with("/skerry.internal.v1.Daemon/") {
        return daemon.oneshot(request).await;
    }
    if request.uri().path() == "/skerry.v1.Node/Hardware" {
        let answer = tower::service_fn(async |_: tonic::Request<HardwareRequest>| {
            Ok(tonic::Response::new(HardwareResponse { serial: "FZ1234567".into(), ..HardwareResponse::default() }))
        });
        return Ok(tonic::server::Grpc::new(tonic_prost::ProstCodec::default()).unary(answer, request).await);
    }
    let seen = |name: &str| {
        let all: Vec<_> = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        all.join(",")
    };
    let mut status = tonic::Status::already_exists("reached init");
    status.metadata_mut().insert("seen-peer", seen(api::PEER_METADATA).parse().expect("ASCII"));
    status.metadata_mut().insert("seen-role", seen(api::ROLE_METADATA).parse().expect("ASCII"));
    Ok(status.into_http())
}

impl Device {
    /// Starts both; `client_ca` none: in maintenance.
    pub(crate) async fn start(client_ca: Option<&Ca>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("init.sock");
        let mut params = named("device", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let identity_key = key();
        let identity = params.self_signed(&identity_key).expect("an identity").der().clone();
        let issuer = Issuer::new(params, identity_key);
        let leaf_key = key();
        let leaf =
            CertificateParams::new(vec!["skerry".to_owned()]).expect("a name").signed_by(&leaf_key, &issuer).expect("a leaf");
        let settings = Settings {
            certificate_chain: vec![leaf.der().to_vec(), identity.to_vec()],
            private_key: leaf_key.serialize_der(),
            client_ca: client_ca.map(|ca| ca.pem.clone().into_bytes()).unwrap_or_default(),
            maintenance: client_ca.is_none(),
            listen: "127.0.0.1:0".into(),
            device_id: String::new(),
            hub: None,
        };
        let (settings, settings_seen) = watch::channel(settings);
        let (address_sender, address) = watch::channel(String::new());
        let (standing_sender, standing) = watch::channel(ReportHubRequest::default());
        let init = PretendedInit { settings: settings_seen, address: address_sender, standing: standing_sender };
        serve_init(socket.clone(), init);
        tokio::spawn(async move { apid::daemon::run(&socket).await });
        Self { settings, address, standing, identity, _folder: folder }
    }

    /// Changes what init says.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(change);
    }

    pub(crate) async fn address(&self) -> String {
        let mut address = self.address.clone();
        let reported = address.wait_for(|address| !address.is_empty()).await.expect("init lives");
        reported.clone()
    }

    /// A client that shows `identity`.
    pub(crate) async fn client(&self, identity: Option<&Identity>) -> Result<NodeClient<Channel>, tonic::transport::Error> {
        Ok(NodeClient::new(self.channel(identity).await?))
    }

    /// A connection that shows `identity`.
    pub(crate) async fn channel(&self, identity: Option<&Identity>) -> Result<Channel, tonic::transport::Error> {
        let address = self.address().await;
        self.channel_over(identity, move || TcpStream::connect(address.clone())).await
    }

    /// The same over what `connect` gives.
    pub(crate) async fn channel_over<S, F>(
        &self,
        identity: Option<&Identity>,
        connect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Channel, tonic::transport::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
    {
        let connector = TlsConnector::from(Arc::new(self.client_config(identity)));
        let endpoint = Endpoint::from_static("http://skerry");
        let channel = endpoint.connect_with_connector(tower::service_fn(move |_| {
            let (connector, connecting) = (connector.clone(), connect());
            async move {
                let tls = connector.connect(ServerName::try_from("skerry").expect("a name"), connecting.await?).await?;
                Ok::<_, std::io::Error>(TokioIo::new(tls))
            }
        }));
        channel.await
    }

    fn client_config(&self, identity: Option<&Identity>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.identity.clone()).expect("the identity is a CA");
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![identity.certificate.clone()],
                    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone())),
                )
                .expect("a usable certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

fn serve_init(socket: PathBuf, init: PretendedInit) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let daemon = Routes::new(DaemonServer::new(init));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let daemon = daemon.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                echo(daemon.clone(), request.map(Body::new))
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}
