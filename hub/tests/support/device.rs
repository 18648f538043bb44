//! A device made by hand: a TLS connection and one gRPC call on it, and whatever messages a test likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::hub::v1::{DeviceMessage, Hello, HubMessage, Verdict, device_message, hub_message, verdict};
use api::hub::{DEVICE_ALPN, EXPORTER_LABEL, PROTOCOL, proof_statement};
use ed25519_dalek::{Signer as _, SigningKey};
use hub::tls::pinned_client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::body::Body;
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

/// The secured connection with whoever holds this key, offering these protocols.
pub async fn secure(address: SocketAddr, pin: &[u8; 32], alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = pinned_client(*pin, b"");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("hub".try_into().expect("a name"), stream).await
}

/// One call of a device.
pub struct Call {
    pub exporter: [u8; 32],
    pub say: mpsc::Sender<DeviceMessage>,
    pub hear: Streaming<HubMessage>,
}

impl Call {
    /// Connects and opens the call; nothing is said yet.
    pub async fn open(address: SocketAddr, pin: &[u8; 32]) -> Result<Self, String> {
        let tls = secure(address, pin, &[DEVICE_ALPN]).await.map_err(|error| error.to_string())?;
        let exporter = tls.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).expect("a channel");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let (say, said) = mpsc::channel(64);
        let service = tower::service_fn(move |request: http::Request<Body>| sender.send_request(request));
        let origin = http::Uri::from_static("https://hub");
        let mut grpc = tonic::client::Grpc::with_origin(service.boxed(), origin);
        grpc.ready().await.map_err(|error| error.to_string())?;
        let codec = ProstCodec::<DeviceMessage, HubMessage>::default();
        let path = http::uri::PathAndQuery::from_static("/skerry.hub.v1.Devices/Session");
        let answer = grpc.streaming(tonic::Request::new(ReceiverStream::new(said)), path, codec).await;
        let hear = answer.map_err(|status| status.to_string())?.into_inner();
        Ok(Self { exporter, say, hear })
    }

    pub async fn send(&self, kind: device_message::Kind) -> bool {
        self.say.send(DeviceMessage { kind: Some(kind) }).await.is_ok()
    }

    /// The next message; none: the hub ended the call.
    pub async fn next(&mut self) -> Option<hub_message::Kind> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.hear.message()).await.expect("the hub answers");
        message.ok().flatten().and_then(|message| message.kind)
    }

    pub async fn nonce(&mut self) -> [u8; 32] {
        match self.next().await {
            Some(hub_message::Kind::Challenge(challenge)) => challenge.nonce.try_into().expect("32 bytes"),
            other => panic!("a challenge comes first, not {other:?}"),
        }
    }

    /// The verdict, past what else comes.
    pub async fn verdict(&mut self) -> Option<verdict::Kind> {
        loop {
            if let hub_message::Kind::Verdict(Verdict { kind }) = self.next().await? {
                return kind;
            }
        }
    }

    /// Greets as this device, for the hub with this pin.
    pub async fn greet(&mut self, key: &SigningKey, pin: &[u8; 32]) {
        let nonce = self.nonce().await;
        let hello = hello(key, pin, &nonce, &self.exporter);
        self.send(device_message::Kind::Hello(hello)).await;
    }

    /// Greets and is admitted, by a hub that asks nothing.
    pub async fn admitted(address: SocketAddr, pin: &[u8; 32], key: &SigningKey) -> Result<Self, String> {
        let mut call = Self::open(address, pin).await?;
        call.greet(key, pin).await;
        match call.verdict().await {
            Some(verdict::Kind::Admitted(_)) => Ok(call),
            other => Err(format!("{other:?}")),
        }
    }
}

/// A greeting with a good proof.
pub fn hello(key: &SigningKey, pin: &[u8; 32], nonce: &[u8; 32], exporter: &[u8; 32]) -> Hello {
    Hello {
        protocol: PROTOCOL,
        public_key: key.verifying_key().to_bytes().to_vec(),
        proof: key.sign(&proof_statement(pin, nonce, exporter)).to_vec(),
        ..Hello::default()
    }
}

/// A device's key, by its number.
pub fn key(number: u32) -> SigningKey {
    let mut secret = [1; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&secret)
}
