//! A simulated device's API: TLS 1.3 with a leaf that the device's identity signed, as a device shows it, and one call. Everything but `Version` is
//! unimplemented, and no client certificate is asked for.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::LEAF_NAME;
use api::v1::{VersionRequest, VersionResponse};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const VERSION: &str = "/skerry.v1.Node/Version";

/// The API of one device. Clones share it.
#[derive(Clone)]
pub(super) struct Api {
    acceptor: TlsAcceptor,
    calls: Arc<AtomicU64>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Api {
    /// The API of the device with this identity.
    pub(super) fn of(identity: &SigningKey) -> Self {
        let config = server_config(identity).expect("an Ed25519 key makes certificates");
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), calls: Arc::default() }
    }

    /// Calls that were answered.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Serves one connection to its end.
    pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, stream: S) {
        // Whoever speaks no TLS is left alone, as on a device.
        let Ok(tls) = self.acceptor.accept(stream).await else { return };
        let service = service_fn(move |request| answer(Arc::clone(&self.calls), request));
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await.ok();
    }
}

async fn answer(
    calls: Arc<AtomicU64>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    if request.uri().path() != VERSION {
        return Ok(Status::unimplemented("a simulated device answers Version only").into_http());
    }
    calls.fetch_add(1, Ordering::Relaxed);
    Ok(Grpc::new(ProstCodec::default()).unary(Version, request.map(Body::new)).await)
}

struct Version;

impl UnaryService<VersionRequest> for Version {
    type Response = VersionResponse;
    type Future = Ready<Result<Response<VersionResponse>, Status>>;

    fn call(&mut self, _: Request<VersionRequest>) -> Self::Future {
        ready(Ok(Response::new(VersionResponse { version: "simulated".into(), ..VersionResponse::default() })))
    }
}

fn server_config(identity: &SigningKey) -> Result<rustls::ServerConfig, Box<dyn std::error::Error>> {
    let pkcs8 = identity.to_pkcs8_der()?;
    let identity_key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_bytes()), &PKCS_ED25519)?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let leaf_key = KeyPair::generate_for(&PKCS_ED25519)?;
    let issuer = Issuer::from_params(&authority, &identity_key);
    let leaf = CertificateParams::new([LEAF_NAME.to_owned()])?.signed_by(&leaf_key, &issuer)?;
    let chain = vec![leaf.der().clone(), authority.self_signed(&identity_key)?.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
