//! A node of the test's own: the device's side of TLS, and canned answers to every call.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use api::v1::{self, node_server::Node, node_server::NodeServer};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use machine_config::{DeviceId, SigningKey};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Iter;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What the fake shows as its certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// As a device does.
    Right,
    /// A leaf that another identity signed.
    UnprovenLeaf,
    /// No identity beside the leaf.
    LeafOnly,
    /// An identity that another key signed.
    IdentityNotSelfSigned,
    /// A leaf with another name.
    WrongName,
}

/// What a fake node is like.
#[derive(Clone)]
pub struct Setup {
    pub chain: Chain,
    /// PEM; none: it asks for no certificate.
    pub client_ca: Option<String>,
    /// Refuses a handshake without a certificate, as a node of another make might.
    pub certificate_required: bool,
    /// Every call ends with this code and message.
    pub refuse: Option<(tonic::Code, &'static str, &'static str)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { chain: Chain::Right, client_ca: None, certificate_required: false, refuse: None }
    }
}

/// A running fake. It ends with the process.
pub struct Fake {
    pub address: SocketAddr,
    pub id: DeviceId,
}

impl Fake {
    pub fn start(setup: Setup) -> Self {
        let (address, id) = (listen(setup), DeviceId::of(&identity().verifying_key()));
        Self { address, id }
    }

    pub fn node(&self) -> String {
        self.address.to_string()
    }
}

/// The first answer of a server that speaks TLS 1.2 and no more: a ServerHello without the extension that says 1.3.
pub const TLS12_SERVER_HELLO: [u8; 47] = {
    let mut record = [0; 47];
    let head = [0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    let mut at = 0;
    while at < head.len() {
        record[at] = head[at];
        at += 1;
    }
    // After 32 bytes of randomness: no session id, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    record[44] = 0xc0;
    record[45] = 0x2b;
    record
};

/// A server that says the same to everyone, whatever it is asked, and then waits.
pub fn parrot(says: &'static [u8]) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(says);
                // Until the caller leaves.
                while stream.read(&mut asked).is_ok_and(|count| count > 0) {}
            });
        }
    });
    address
}

/// The identity never changes, so that ids in golden files hold.
pub fn identity() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn listen(setup: Setup) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("a bound socket");
    let acceptor = TlsAcceptor::from(Arc::new(tls(&setup)));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), setup.clone()));
            }
        });
    });
    address
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, setup: Setup) {
    let Ok(tls) = acceptor.accept(stream).await else { return };
    let routes = Routes::new(NodeServer::new(Canned { refuse: setup.refuse }));
    let service = TowerToHyperService::new(routes.prepare());
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service);
    // A client that leaves is no concern of the fake's.
    let _ = connection.await;
}

fn tls(setup: &Setup) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3 suites");
    let builder = match &setup.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.expect("PEM")).expect("a CA");
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if setup.certificate_required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let (chain, key) = certificates(setup.chain);
    let mut config = builder.with_single_cert(chain, key).expect("a key that fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn certificates(form: Chain) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let identity = key_pair(&identity());
    let stranger = key_pair(&SigningKey::from_bytes(&[8; 32]));
    let leaf_key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let name = if form == Chain::WrongName { "other" } else { "skerry" };
    let identity_params = CertificateParams::default();
    let leaf_params = CertificateParams::new([name.to_owned()]).expect("a DNS name");
    let issuer = if form == Chain::UnprovenLeaf { &stranger } else { &identity };
    let leaf = leaf_params.signed_by(&leaf_key, &Issuer::from_params(&identity_params, issuer)).expect("a certificate");
    let shown = match form {
        Chain::IdentityNotSelfSigned => identity_params.signed_by(&identity, &Issuer::from_params(&identity_params, &stranger)),
        Chain::Right | Chain::UnprovenLeaf | Chain::LeafOnly | Chain::WrongName => identity_params.self_signed(&identity),
    };
    let mut chain = vec![leaf.der().clone()];
    if form != Chain::LeafOnly {
        chain.push(shown.expect("a certificate").der().clone());
    }
    (chain, PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into())
}

fn key_pair(key: &SigningKey) -> KeyPair {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let der = key.to_pkcs8_der().expect("an Ed25519 key has a PKCS#8 form");
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der.as_bytes()), &PKCS_ED25519).expect("a key")
}

/// The canned answers.
struct Canned {
    refuse: Option<(tonic::Code, &'static str, &'static str)>,
}

type Stream<T> = Iter<std::vec::IntoIter<Result<T, Status>>>;

impl Canned {
    fn answer<T>(&self, answer: T) -> Result<Response<T>, Status> {
        match self.refuse {
            None => Ok(Response::new(answer)),
            Some((code, word, message)) => {
                let mut status = Status::new(code, message);
                if !word.is_empty() {
                    status.metadata_mut().insert(api::ERROR_CODE_METADATA, MetadataValue::from_static(word));
                }
                Err(status)
            }
        }
    }

    fn stream<T>(&self, items: Vec<T>) -> Result<Response<Stream<T>>, Status> {
        let items: Vec<_> = items.into_iter().map(Ok).collect();
        self.answer(tokio_stream::iter(items))
    }
}

fn time() -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 })
}

fn status(phase: &str) -> v1::StatusResponse {
    v1::StatusResponse {
        device_id: DeviceId::of(&identity().verifying_key()).to_string(),
        hostname: "node-1".into(),
        mode: v1::NodeMode::Configured.into(),
        phase: phase.into(),
        phase_state: v1::PhaseState::Waiting.into(),
        waiting_for: "containerd".into(),
        errors: vec!["k3s: gave up".into(), "images: exit code 1".into()],
        addresses: vec!["enp0s2 10.0.2.15/24".into(), "enp0s2 fe80::1/64".into()],
        config_generation: 7,
        config_digest: "ab".repeat(32),
        not_yet_in_effect: vec!["machine.watchdog".into()],
        healthy: false,
        time: time(),
        uptime_ms: 306_000,
        fleet: "acme".into(),
        clock: "floor".into(),
        runs_from: "RAM".into(),
        install: "installing on nvme0n1 (Samsung SSD 980, 500 GB): 43 %".into(),
        hub: "waiting for approval at https://hub.example".into(),
    }
}

fn nic() -> v1::Nic {
    v1::Nic {
        name: "enp0s2".into(),
        mac: "52:54:00:12:34:56".into(),
        driver: "virtio_net".into(),
        carrier: true,
        mtu: 1500,
        rx_bytes: 2048,
        tx_bytes: 1 << 20,
        addresses: vec!["10.0.2.15/24".into()],
        state: "up".into(),
    }
}

fn disk() -> v1::Disk {
    let part =
        |name: &str, label: &str, mib: u64| v1::DiskPartition { name: name.into(), label: label.into(), size_bytes: mib << 20 };
    v1::Disk {
        name: "vda".into(),
        size_bytes: 4 << 30,
        model: "".into(),
        serial: "disk-1".into(),
        removable: false,
        boot: true,
        partitions: vec![part("vda1", "ESP", 64), part("vda5", "STATE", 64)],
    }
}

#[tonic::async_trait]
impl Node for Canned {
    type WatchStatusStream = Stream<v1::StatusResponse>;
    type LogsStream = Stream<v1::LogLine>;
    type KmsgStream = Stream<v1::KmsgLine>;
    type EventsStream = Stream<v1::Event>;

    async fn version(&self, _: Request<v1::VersionRequest>) -> Result<Response<v1::VersionResponse>, Status> {
        self.answer(v1::VersionResponse {
            version: "0.1.0".into(),
            board: "qemu-x86_64".into(),
            architecture: "x86_64".into(),
            kernel: "6.12.0".into(),
            api_version: "skerry.v1".into(),
            runtime_root_hash: "".into(),
        })
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        self.answer(status("services"))
    }

    async fn hardware(&self, _: Request<v1::HardwareRequest>) -> Result<Response<v1::HardwareResponse>, Status> {
        self.answer(v1::HardwareResponse {
            vendor: "QEMU".into(),
            product: "Standard PC".into(),
            serial: "FZ1".into(),
            uuid: "".into(),
            cpu_model: "qemu64".into(),
            cpu_count: 2,
            memory_bytes: 2 << 30,
            nics: vec![nic()],
            disks: vec![disk()],
            tpm: false,
            secure_boot: "off".into(),
            firmware: "EDK II".into(),
        })
    }

    async fn watch_status(&self, _: Request<v1::StatusRequest>) -> Result<Response<Self::WatchStatusStream>, Status> {
        self.stream(vec![status("volumes"), status("services")])
    }

    async fn apply_config(&self, request: Request<v1::ApplyConfigRequest>) -> Result<Response<v1::ApplyConfigResponse>, Status> {
        let request = request.into_inner();
        assert!(!request.config.is_empty());
        let change = v1::ConfigChange {
            path: "machine.hostname".into(),
            old: "".into(),
            new: "shop".into(),
            effect: if request.dry_run { "live" } else { "reboot" }.into(),
        };
        self.answer(v1::ApplyConfigResponse {
            generation: 7,
            digest: "ab".repeat(32),
            changes: vec![change],
            not_yet_in_effect: vec!["machine.watchdog".into()],
            already_in_force: false,
        })
    }

    async fn get_config(&self, _: Request<v1::GetConfigRequest>) -> Result<Response<v1::GetConfigResponse>, Status> {
        self.answer(v1::GetConfigResponse {
            yaml: "kind: MachineConfig\n".into(),
            generation: 7,
            digest: "ab".repeat(32),
            key_id: "0123456789abcdef".into(),
        })
    }

    async fn services(&self, _: Request<v1::ServicesRequest>) -> Result<Response<v1::ServicesResponse>, Status> {
        let ready = v1::Service {
            name: "containerd".into(),
            state: v1::ServiceState::Ready.into(),
            pid: 120,
            uptime_ms: 7_800,
            memory_bytes: 56 << 20,
            cpu_usec: 1_500_000,
            ..v1::Service::default()
        };
        let backoff = v1::Service {
            name: "k3s".into(),
            state: v1::ServiceState::Backoff.into(),
            restarts: 3,
            last_exit: "exit code 1".into(),
            backoff_ms: 4_000,
            depends_on: vec!["containerd".into()],
            ..v1::Service::default()
        };
        self.answer(v1::ServicesResponse { services: vec![ready, backoff] })
    }

    async fn restart_service(
        &self,
        _: Request<v1::RestartServiceRequest>,
    ) -> Result<Response<v1::RestartServiceResponse>, Status> {
        self.answer(v1::RestartServiceResponse {})
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let service = request.into_inner().service;
        let line = |line: &str, dropped| v1::LogLine {
            time: time(),
            service: service.clone(),
            stream: "stdout".into(),
            line: line.into(),
            dropped,
        };
        self.stream(vec![line("one", 0), line("\x1b[2Jtwo", 3)])
    }

    async fn kmsg(&self, _: Request<v1::KmsgRequest>) -> Result<Response<Self::KmsgStream>, Status> {
        self.stream(vec![v1::KmsgLine { usec: 1_234_567, priority: 6, message: "Linux version 6.12".into() }])
    }

    async fn events(&self, _: Request<v1::EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        self.stream(vec![v1::Event {
            time: time(),
            sequence: 1,
            kind: "phase".into(),
            subject: "network".into(),
            message: "done".into(),
        }])
    }

    async fn boot_times(&self, _: Request<v1::BootTimesRequest>) -> Result<Response<v1::BootTimesResponse>, Status> {
        let phase = |name: &str, start, end, state: v1::PhaseState| v1::PhaseTime {
            name: name.into(),
            start_usec: start,
            end_usec: end,
            state: state.into(),
            error: "".into(),
        };
        self.answer(v1::BootTimesResponse {
            phases: vec![
                phase("early", 1_300_000, 1_350_000, v1::PhaseState::Done),
                phase("services", 2_000_000, 0, v1::PhaseState::Running),
            ],
            init_start_usec: 1_290_000,
            api_ready_usec: 1_900_000,
            dhcp_wait_usec: 100_000,
        })
    }

    async fn processes(&self, _: Request<v1::ProcessesRequest>) -> Result<Response<v1::ProcessesResponse>, Status> {
        self.answer(v1::ProcessesResponse {
            processes: vec![v1::Process {
                pid: 1,
                ppid: 0,
                state: "S".into(),
                rss_bytes: 3 << 20,
                cpu_ms: 120,
                command: "/init".into(),
                cgroup: "/".into(),
                threads: 2,
            }],
        })
    }

    async fn resources(&self, _: Request<v1::ResourcesRequest>) -> Result<Response<v1::ResourcesResponse>, Status> {
        self.answer(v1::ResourcesResponse {
            cpu: Some(v1::Cpu { count: 2, load1: 0.5, load5: 0.25, load15: 0.125, busy_ms: 9_000, idle_ms: 60_000 }),
            memory: Some(v1::Memory {
                total_bytes: 2 << 30,
                available_bytes: 3 << 29,
                free_bytes: 1 << 30,
                cached_bytes: 1 << 28,
            }),
            disks: vec![disk()],
            links: vec![nic()],
            mounts: vec![v1::Mount {
                source: "/dev/vda6".into(),
                target: "/var".into(),
                fs_type: "ext4".into(),
                options: "rw".into(),
                size_bytes: 3 << 30,
                available_bytes: 2 << 30,
            }],
        })
    }

    async fn containers(&self, _: Request<v1::ContainersRequest>) -> Result<Response<v1::ContainersResponse>, Status> {
        self.answer(v1::ContainersResponse {
            containers: vec![v1::Container {
                id: "0123456789abcdef".into(),
                name: "hello".into(),
                image: "docker.io/library/hello:latest".into(),
                state: "running".into(),
                pod: "default/hello".into(),
                created: time(),
                attempt: 0,
            }],
        })
    }

    async fn reboot(&self, _: Request<v1::RebootRequest>) -> Result<Response<v1::RebootResponse>, Status> {
        self.answer(v1::RebootResponse {})
    }

    async fn power_off(&self, _: Request<v1::PowerOffRequest>) -> Result<Response<v1::PowerOffResponse>, Status> {
        self.answer(v1::PowerOffResponse {})
    }
}
