//! A hub that does what a test says: it ends TLS with a key of its own and hands each session to the test, which speaks for it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::hub::v1::device_message::Kind as DeviceKind;
use api::hub::v1::devices_server::{Devices, DevicesServer};
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{
    Admitted, Challenge, ConfigOffer, ConfigOutcome, DeviceMessage, Heartbeat, HeartbeatReceived, Hello, HubMessage, Verdict,
    verdict,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt;

/// Time in which whatever a test waits for must come.
const PATIENCE: Duration = Duration::from_secs(7200);

/// A hub's key and what it knows of its guests.
#[derive(Clone)]
pub(crate) struct Hub {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pub(crate) pin: [u8; 32],
    guests: mpsc::UnboundedSender<Guest>,
}

/// Sessions as they come.
pub(crate) type Guests = mpsc::UnboundedReceiver<Guest>;

/// One session, as the hub sees it.
pub(crate) struct Guest {
    pub(crate) incoming: Streaming<DeviceMessage>,
    say: mpsc::Sender<Result<HubMessage, Status>>,
    exporter: [u8; 32],
    pin: [u8; 32],
}

impl Hub {
    pub(crate) fn new() -> (Self, Guests) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new(vec!["another.name.example".to_owned()]).expect("a name");
        // Long over, and not for this name: only the key counts.
        (params.not_before, params.not_after) = (date_time_ymd(1975, 1, 1), date_time_ymd(1976, 1, 1));
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        let (guests, come) = mpsc::unbounded_channel();
        let pin = api::hub::pin(&key.subject_public_key_info());
        (Self { certificate, key: key.serialize_der(), pin, guests }, come)
    }

    /// TLS with the hub's key.
    pub(crate) fn acceptor(&self, alpn: &[u8]) -> TlsAcceptor {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("a usable certificate");
        config.alpn_protocols = if alpn.is_empty() { vec![] } else { vec![alpn.to_vec()] };
        TlsAcceptor::from(Arc::new(config))
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Ok(tls) = self.acceptor(api::hub::DEVICE_ALPN).accept(stream).await else { return };
        let exporter = tls.get_ref().1.export_keying_material([0; 32], api::hub::EXPORTER_LABEL, None).expect("TLS is up");
        let desk = Desk { guests: self.guests.clone(), exporter, pin: self.pin };
        let routes = Routes::new(DevicesServer::new(desk).max_decoding_message_size(api::hub::MAX_MESSAGE_BYTES));
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            routes.clone().oneshot(request.map(tonic::body::Body::new))
        });
        drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await);
    }
}

struct Desk {
    guests: mpsc::UnboundedSender<Guest>,
    exporter: [u8; 32],
    pin: [u8; 32],
}

#[tonic::async_trait]
impl Devices for Desk {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<HubMessage, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<DeviceMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (say, said) = mpsc::channel(64);
        let guest = Guest { incoming: request.into_inner(), say, exporter: self.exporter, pin: self.pin };
        drop(self.guests.send(guest));
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

impl Guest {
    /// The next session.
    pub(crate) async fn next(guests: &mut Guests) -> Self {
        tokio::time::timeout(PATIENCE, guests.recv()).await.expect("a device calls in time").expect("the hub lives")
    }

    /// Says something; false: nobody listens.
    pub(crate) async fn says(&self, kind: Kind) -> bool {
        self.say.send(Ok(HubMessage { kind: Some(kind) })).await.is_ok()
    }

    /// What the device says next; none: it ended the session.
    pub(crate) async fn hears(&mut self) -> Option<DeviceKind> {
        let message = tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("the device says something in time");
        message.ok().flatten().and_then(|message| message.kind)
    }

    /// Waits until the device has ended the session, whatever it says before.
    pub(crate) async fn is_left(&mut self) {
        while self.hears().await.is_some() {}
    }

    /// Challenges the device and checks its proof.
    pub(crate) async fn greets(&mut self) -> Hello {
        assert!(self.says(Kind::Challenge(Challenge { nonce: vec![9; 32], protocol: 1 })).await);
        let Some(DeviceKind::Hello(hello)) = self.hears().await else { panic!("no greeting") };
        let key: [u8; 32] = hello.public_key.as_slice().try_into().expect("32 bytes");
        let key = machine_config::VerifyingKey::from_bytes(&key).expect("a key");
        let proof: [u8; 64] = hello.proof.as_slice().try_into().expect("64 bytes");
        let statement = api::hub::proof_statement(&self.pin, &[9; 32], &self.exporter);
        key.verify_strict(&statement, &proof.into()).expect("the proof is of this channel");
        hello
    }

    /// Gives its verdict.
    pub(crate) async fn judges(&self, kind: verdict::Kind) {
        assert!(self.says(Kind::Verdict(Verdict { kind: Some(kind) })).await);
    }

    /// Challenges, admits and takes the first heartbeat.
    pub(crate) async fn admits(&mut self) -> Heartbeat {
        self.greets().await;
        self.judges(verdict::Kind::Admitted(Admitted { heartbeat_seconds: 150, name: "box".into() })).await;
        self.takes_heartbeat().await
    }

    /// Waits until the device says what is looked for; whatever comes before it is passed over.
    pub(crate) async fn waits_for<T>(&mut self, look: impl Fn(DeviceKind) -> Option<T>) -> T {
        loop {
            let kind = self.hears().await.expect("the session goes on");
            if let Some(found) = look(kind) {
                return found;
            }
        }
    }

    /// Takes a heartbeat and answers it.
    pub(crate) async fn takes_heartbeat(&mut self) -> Heartbeat {
        let heartbeat = |kind| match kind {
            DeviceKind::Heartbeat(heartbeat) => Some(heartbeat),
            _ => None,
        };
        let heartbeat = self.waits_for(heartbeat).await;
        self.says(Kind::HeartbeatReceived(HeartbeatReceived { number: heartbeat.number })).await;
        heartbeat
    }

    /// Takes what became of a configuration.
    pub(crate) async fn takes_outcome(&mut self) -> ConfigOutcome {
        let outcome = |kind| match kind {
            DeviceKind::ConfigOutcome(outcome) => Some(outcome),
            _ => None,
        };
        self.waits_for(outcome).await
    }

    /// Offers a configuration.
    pub(crate) async fn offers(&self, config: &[u8]) -> bool {
        self.says(Kind::ConfigOffer(ConfigOffer { config: config.to_vec(), digest: hex::encode(Sha256::digest(config)) })).await
    }
}
