//! A real client over the real socket, against a node that is not booted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::internal::daemon_client::DaemonClient;
use api::internal::{
    HubSettings, OfferConfigRequest, ProveToHubRequest, ReportHubRequest, ReportListeningRequest, WatchSettingsRequest,
};
use api::v1::node_client::NodeClient;
use api::v1::*;
use ed25519_dalek::{Signature, VerifyingKey};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{Context, Inventory, serve};
use crate::hub::HubDesk;
use crate::node::{ApidSettings, EventKind, InForce, Node, PowerKind, PowerRequest, Release, config_channel, power_channel};
use crate::services::definitions;
use crate::services::spec::{Files, ServiceSpec};
use crate::services::{Supervisor, Surroundings};
use crate::state::Identity;
use crate::unix_channel;

struct Bench {
    context: Context,
    channel: Channel,
    power: watch::Receiver<Option<PowerRequest>>,
    in_force: watch::Sender<Option<Arc<InForce>>>,
    settings: watch::Sender<Option<ApidSettings>>,
    public_key: VerifyingKey,
    _folder: TempDir,
}

/// A served API whose configuration task refuses whatever is not `good`.
async fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a temp folder");
    for name in ["apid", "talker"] {
        let path = folder.path().join("skerry").join(name);
        std::fs::create_dir_all(&path).expect("the folder is ours");
        std::fs::write(path.join("cgroup.procs"), "").expect("the folder is ours");
    }
    let node = Node::default();
    let surroundings = Surroundings { node: node.clone(), cgroup_mount: folder.path().into(), run_folder: folder.path().into() };
    let (config, mut inbox, in_force) = config_channel();
    let (power_handle, power) = power_channel();
    let (settings, settings_watch) = watch::channel(None);
    tokio::spawn(async move {
        while let Some(request) = inbox.recv().await {
            let refused = machine_config::Refusal::Size { bytes: request.bytes.len() };
            let _ = request.answer.send(Err(refused.into()));
        }
    });
    let inventory = Inventory {
        hardware: |disk| HardwareResponse { product: format!("boots from {disk}"), ..Default::default() },
        resources: |_| ResourcesResponse::default(),
        processes: ProcessesResponse::default,
    };
    let supervisor = Supervisor::start(surroundings).expect("signals can be watched");
    let identity = Identity::generate().expect("random bytes");
    let public_key = identity.signing_key().verifying_key();
    let known = watch::channel(Some(identity)).1;
    let context = Context {
        hub: HubDesk::new(node.clone(), known, settings_watch.clone(), config.clone()),
        node,
        release: Release::unknown(),
        supervisor,
        config,
        power: power_handle,
        settings: settings_watch,
        inventory,
    };
    let socket = folder.path().join("init.sock");
    tokio::spawn({
        let (context, socket) = (context.clone(), socket.clone());
        async move { serve(context, &socket).await.expect("it serves") }
    });
    let channel = connect(socket).await;
    Bench { context, channel, power, in_force, settings, public_key, _folder: folder }
}

async fn connect(socket: PathBuf) -> Channel {
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    unix_channel::connect(&socket).await.expect("it listens")
}

fn code_of(status: &Status) -> &str {
    status.metadata().get(api::ERROR_CODE_METADATA).map_or("", |code| code.to_str().expect("ASCII"))
}

fn by<T>(name: &'static str, role: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(api::PEER_METADATA, name.parse().expect("ASCII"));
    request.metadata_mut().insert(api::ROLE_METADATA, role.parse().expect("ASCII"));
    request
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

#[tokio::test]
async fn a_refused_configuration_carries_its_code_and_is_recorded_with_its_bearer() {
    let bench = bench().await;
    let mut node = NodeClient::new(bench.channel);
    let request = by("eve", "anonymous", ApplyConfigRequest { config: vec![1, 2], dry_run: false });
    let status = node.apply_config(request).await.expect_err("refused");
    assert_eq!((status.code(), code_of(&status)), (Code::InvalidArgument, "size"));
    let event = bench.context.node.events.tail(1).remove(0);
    assert_eq!(
        (event.kind, event.message.as_str()),
        (EventKind::Call, "a configuration refused (size), asked by eve (anonymous)")
    );
}

#[tokio::test]
async fn no_configuration_is_a_refusal_and_one_in_force_is_served_masked() {
    let bench = bench().await;
    let mut node = NodeClient::new(bench.channel);
    let status = node.get_config(GetConfigRequest {}).await.expect_err("none is in force");
    assert_eq!((status.code(), code_of(&status)), (Code::FailedPrecondition, "no-config"));
    let text = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: a, fleet: acme, generation: 7}\ntarget: {any: true}\nk3s: {role: server, token: s3cret}\n";
    let config = machine_config::parse(text.as_bytes()).expect("it is valid");
    bench.in_force.send_replace(Some(Arc::new(InForce { config, generation: 7, digest: "d".into(), key_id: "k".into() })));
    let shown = node.get_config(GetConfigRequest {}).await.expect("it is in force").into_inner();
    assert_eq!(shown.generation, 7);
    assert!(!shown.yaml.contains("s3cret"), "{}", shown.yaml);
}

#[tokio::test]
async fn the_status_stream_begins_at_once_follows_changes_and_ends_before_the_device_goes_down() {
    let mut bench = bench().await;
    let mut node = NodeClient::new(bench.channel);
    let mut stream = node.watch_status(StatusRequest {}).await.expect("it streams").into_inner();
    let first = in_time(stream.message()).await.expect("no error").expect("a status");
    assert!(!first.healthy && first.time.is_some());
    bench.context.node.status.update(|status| status.healthy = true);
    assert!(in_time(stream.message()).await.expect("no error").expect("a status").healthy);
    node.reboot(by("op", "operator", RebootRequest {})).await.expect("allowed");
    assert_eq!(in_time(stream.message()).await.expect("a clean end"), None);
    in_time(bench.power.changed()).await.expect("asked");
    let request = bench.power.borrow().clone().expect("asked");
    assert_eq!((request.kind, request.by.as_str()), (PowerKind::Reboot, "op (operator)"));
}

#[tokio::test]
async fn logs_have_a_tail_a_follower_and_an_end() {
    let bench = bench().await;
    let spec = ServiceSpec {
        env: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        ..ServiceSpec::daemon("talker", &["/bin/sh", "-c", "echo one; echo two; exec sleep 100"])
    };
    bench.context.supervisor.ensure(vec![spec]);
    in_time(bench.context.supervisor.ready("talker")).await;
    let mut node = NodeClient::new(bench.channel);
    let request = LogsRequest { service: "talker".into(), follow: true, tail: 0 };
    let mut stream = node.logs(request).await.expect("it streams").into_inner();
    for expected in ["one", "two"] {
        let line = in_time(stream.message()).await.expect("no error").expect("a line");
        assert_eq!((line.line.as_str(), line.stream.as_str(), line.service.as_str()), (expected, "stdout", "talker"));
    }
    drop(stream);
    let request = LogsRequest { service: "talker".into(), follow: false, tail: 1 };
    let mut stream = node.logs(request).await.expect("it streams").into_inner();
    assert_eq!(in_time(stream.message()).await.expect("no error").expect("a line").line, "two");
    assert_eq!(in_time(stream.message()).await.expect("no error"), None);
    in_time(bench.context.supervisor.stop_all(Duration::from_secs(20))).await;
}

#[tokio::test]
async fn an_unknown_service_is_named_with_those_there_are() {
    let bench = bench().await;
    let mut node = NodeClient::new(bench.channel);
    bench.context.supervisor.ensure(vec![ServiceSpec { depends_on: vec!["x".into()], ..ServiceSpec::daemon("talker", &["/x"]) }]);
    let status = node.restart_service(RestartServiceRequest { name: "k3s".into() }).await.expect_err("there is none");
    assert_eq!((status.code(), code_of(&status)), (Code::NotFound, "service-unknown"));
    assert!(status.message().contains("there are talker"), "{}", status.message());
    let status = node.logs(LogsRequest { service: "k3s".into(), ..Default::default() }).await.expect_err("there is none");
    assert_eq!(code_of(&status), "service-unknown");
    let services = node.services(ServicesRequest {}).await.expect("served").into_inner().services;
    assert_eq!(services[0].waiting_for, "x, which is not configured");
}

#[tokio::test]
async fn events_are_served_from_the_tail_on_and_followed() {
    let bench = bench().await;
    bench.context.node.events.record(EventKind::Network, "eth0", "up");
    bench.context.node.events.record(EventKind::Network, "eth0", "down");
    let mut node = NodeClient::new(bench.channel);
    let mut stream = node.events(EventsRequest { follow: true, tail: 1 }).await.expect("it streams").into_inner();
    assert_eq!(in_time(stream.message()).await.expect("no error").expect("an event").message, "down");
    bench.context.node.events.record(EventKind::Network, "eth0", "up again");
    let event = in_time(stream.message()).await.expect("no error").expect("an event");
    assert_eq!((event.message.as_str(), event.sequence, event.kind.as_str()), ("up again", 3, "network"));
}

#[tokio::test]
async fn apid_gets_its_settings_when_they_are_there_and_reports_its_listener() {
    let bench = bench().await;
    // Only privileged test machines may lower the score; the device's init may. And this program has libraries to open.
    let argv = vec!["/bin/sleep".into(), "100".into()];
    let apid = ServiceSpec { argv, user: None, files: Files::All, oom_score_adj: 0, ..definitions::apid() };
    bench.context.supervisor.ensure(vec![apid]);
    let mut daemon = DaemonClient::new(bench.channel.clone());
    let mut stream = daemon.watch_settings(WatchSettingsRequest {}).await.expect("it streams").into_inner();
    let settings = ApidSettings {
        certificate_chain: vec![vec![1], vec![2]],
        private_key: vec![3].into(),
        client_ca: String::new(),
        maintenance: true,
        listen: "[::]:7440".into(),
        device_id: "d".into(),
        hub: None,
    };
    bench.settings.send_replace(Some(settings));
    let shown = in_time(stream.message()).await.expect("no error").expect("settings");
    assert!(shown.maintenance && shown.certificate_chain.len() == 2);
    daemon.report_listening(ReportListeningRequest { address: "[::]:7440".into() }).await.expect("heard");
    in_time(bench.context.supervisor.ready("apid")).await;
    let times = NodeClient::new(bench.channel).boot_times(BootTimesRequest {}).await.expect("served").into_inner();
    assert!(times.api_ready_usec >= times.init_start_usec);
    in_time(bench.context.supervisor.stop_all(Duration::from_secs(20))).await;
}

#[tokio::test]
async fn apid_gets_a_proof_to_the_hub_of_its_settings_and_hears_why_an_offer_was_refused() {
    let bench = bench().await;
    let mut daemon = DaemonClient::new(bench.channel.clone());
    let ask = ProveToHubRequest { nonce: vec![1; 32], exporter: vec![2; 32] };
    let status = daemon.prove_to_hub(ask.clone()).await.expect_err("no hub");
    assert_eq!((status.code(), code_of(&status)), (Code::FailedPrecondition, "no-hub"));
    let hub = HubSettings { pin: "ab".repeat(32), ..Default::default() };
    bench.settings.send_replace(Some(ApidSettings { hub: Some(hub), ..Default::default() }));
    let signature = daemon.prove_to_hub(ask).await.expect("proved").into_inner().signature;
    let statement = api::hub::proof_statement(&[0xab; 32], &[1; 32], &[2; 32]);
    let signature = Signature::from_slice(&signature).expect("64 bytes");
    bench.public_key.verify_strict(&statement, &signature).expect("the device's");
    let outcome = daemon.offer_config(OfferConfigRequest { config: vec![1, 2] }).await.expect("an answer").into_inner();
    assert_eq!((outcome.accepted, outcome.code.as_str(), outcome.generation), (false, "size", 0));
    assert!(!outcome.message.is_empty());
}

#[tokio::test]
async fn what_apid_reports_of_the_hub_is_in_the_status() {
    let bench = bench().await;
    let mut daemon = DaemonClient::new(bench.channel.clone());
    let state = api::internal::HubState::Pending.into();
    let report = ReportHubRequest { state, message: "ask kim".into(), address: "https://hub.example".into() };
    daemon.report_hub(report.clone()).await.expect("heard");
    daemon.report_hub(ReportHubRequest { state: 99, ..report }).await.expect("a later version's state says nothing");
    let status = NodeClient::new(bench.channel).status(StatusRequest {}).await.expect("served").into_inner();
    assert_eq!(status.hub, "waiting for approval at https://hub.example: ask kim");
}

#[tokio::test]
async fn hardware_names_the_boot_disk_and_containers_say_that_containerd_is_down() {
    let bench = bench().await;
    bench.context.node.status.update(|status| status.runs_from = crate::node::RunsFrom::Disk("vda".into()));
    let mut node = NodeClient::new(bench.channel);
    assert_eq!(node.hardware(HardwareRequest {}).await.expect("served").into_inner().product, "boots from vda");
    assert_eq!(node.version(VersionRequest {}).await.expect("served").into_inner().api_version, "skerry.v1");
    let status = super::containers::list(std::path::Path::new("/nonexistent/containerd.sock")).await.expect_err("nobody listens");
    assert_eq!((status.code(), code_of(&status)), (Code::Unavailable, "containerd-unavailable"));
}

#[tokio::test]
async fn a_request_larger_than_any_configuration_is_not_taken_into_memory() {
    let bench = bench().await;
    let mut node = NodeClient::new(bench.channel.clone());
    let config = vec![0; 2 * machine_config::MAX_CONFIG_BYTES];
    let refused = node.apply_config(ApplyConfigRequest { config, dry_run: true }).await.expect_err("too large");
    assert_eq!(refused.code(), Code::OutOfRange);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_and_the_others_are_served() {
    let bench = bench().await;
    let socket = bench._folder.path().join("init.sock");
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(tokio::net::UnixStream::connect(&socket).await.expect("the kernel queues it"));
    }
    NodeClient::new(bench.channel.clone()).version(VersionRequest {}).await.expect("served");
    drop(idle);
    let late = connect(socket).await;
    NodeClient::new(late).version(VersionRequest {}).await.expect("places are free again");
}
