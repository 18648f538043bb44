//! The listener end to end, over TLS on loopback, with a pretended init: who gets through, and as whom.

mod common;

use std::time::Duration;

use api::internal::daemon_client::DaemonClient;
use api::internal::{ReportHubRequest, WatchSettingsRequest};
use api::v1::{RebootRequest, ServicesRequest, StatusRequest};
use common::{Ca, Device};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const FAR: i32 = 4000;

fn error_code(status: &Status) -> &str {
    status.metadata().get(api::ERROR_CODE_METADATA).and_then(|value| value.to_str().ok()).unwrap_or("none")
}

/// The pretended init answers every call it gets with this code.
fn reached_init(status: &Status) -> bool {
    status.code() == Code::AlreadyExists && status.message() == "reached init"
}

fn seen<'a>(status: &'a Status, key: &str) -> &'a str {
    status.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or("none")
}

#[tokio::test]
async fn maintenance_answers_status_to_anyone_and_services_to_nobody() {
    let device = Device::start(None).await;
    let mut client = device.client(None).await.expect("connects");
    let status = client.status(StatusRequest {}).await.expect_err("init answers with an error");
    assert!(reached_init(&status), "{status:?}");
    assert_eq!((seen(&status, "seen-peer"), seen(&status, "seen-role")), ("anonymous", "anonymous"));
    let refused = client.services(ServicesRequest {}).await.expect_err("closed");
    assert_eq!((refused.code(), error_code(&refused)), (Code::FailedPrecondition, "maintenance"));
}

#[tokio::test]
async fn configured_device_refuses_a_missing_certificate() {
    let device = Device::start(Some(&Ca::new("fleet"))).await;
    let mut client = device.client(None).await.expect("the handshake itself succeeds");
    let refused = client.status(StatusRequest {}).await.expect_err("refused");
    assert_eq!((refused.code(), error_code(&refused)), (Code::Unauthenticated, "certificate-missing"));
}

#[tokio::test]
async fn configured_device_refuses_an_expired_certificate_and_a_foreign_ca() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    for bad in [ca.issue("kim", "admin", 2001), Ca::new("fleet").issue("kim", "admin", FAR)] {
        // TLS 1.3: the client learns of the refusal on its first read, so the connection may seem to open.
        let answer = match device.client(Some(&bad)).await {
            Ok(mut client) => client.status(StatusRequest {}).await.expect_err("refused"),
            Err(_) => continue,
        };
        assert!(!reached_init(&answer), "{answer:?}");
    }
}

#[tokio::test]
async fn reader_may_look_but_not_reboot() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    let reader = ca.issue("kim", "reader", FAR);
    let mut client = device.client(Some(&reader)).await.expect("connects");
    let status = client.status(StatusRequest {}).await.expect_err("init answers with an error");
    assert!(reached_init(&status), "{status:?}");
    assert_eq!((seen(&status, "seen-peer"), seen(&status, "seen-role")), ("kim", "reader"));
    let refused = client.reboot(RebootRequest {}).await.expect_err("refused");
    assert_eq!((refused.code(), error_code(&refused)), (Code::PermissionDenied, "role-too-low"));
}

#[tokio::test]
async fn claimed_role_in_metadata_is_replaced_by_the_certificate_s() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    let mut client = device.client(Some(&ca.issue("kim", "reader", FAR))).await.expect("connects");
    let mut request = tonic::Request::new(StatusRequest {});
    request.metadata_mut().insert(api::ROLE_METADATA, "admin".parse().expect("ASCII"));
    let status = client.status(request).await.expect_err("init answers with an error");
    assert_eq!(seen(&status, "seen-role"), "reader");
}

#[tokio::test]
async fn internal_service_is_out_of_reach_from_the_network() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    let channel = device.channel(Some(&ca.issue("kim", "admin", FAR))).await.expect("connects");
    let answer = DaemonClient::new(channel).watch_settings(WatchSettingsRequest {}).await;
    let refused = answer.expect_err("refused");
    assert_eq!((refused.code(), error_code(&refused)), (Code::Unimplemented, "method-unknown"));
}

#[tokio::test]
async fn open_connections_end_when_the_client_ca_changes() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let device = Device::start(Some(&old)).await;
    let admin = old.issue("kim", "admin", FAR);
    let mut client = device.client(Some(&admin)).await.expect("connects");
    assert!(reached_init(&client.status(StatusRequest {}).await.expect_err("an error")));
    device.change(|settings| settings.client_ca = new.pem.clone().into_bytes());
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let answer = client.status(StatusRequest {}).await.expect_err("an error");
            if !reached_init(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    refused.await.expect("the old certificate stops working");
    let mut admitted = device.client(Some(&new.issue("kim", "admin", FAR))).await.expect("connects");
    assert!(reached_init(&admitted.status(StatusRequest {}).await.expect_err("an error")));
}

#[tokio::test]
async fn a_device_without_a_hub_tells_of_none() {
    let device = Device::start(None).await;
    device.client(None).await.expect("connects");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(*device.standing.borrow(), ReportHubRequest::default());
}

#[tokio::test]
async fn leaving_maintenance_closes_the_open_methods() {
    let ca = Ca::new("fleet");
    let device = Device::start(None).await;
    let mut client = device.client(None).await.expect("connects");
    assert!(reached_init(&client.status(StatusRequest {}).await.expect_err("an error")));
    device.change(|settings| {
        settings.client_ca = ca.pem.clone().into_bytes();
        settings.maintenance = false;
    });
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let answer = client.status(StatusRequest {}).await.expect_err("an error");
            if error_code(&answer) == "certificate-missing" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    refused.await.expect("anonymous calls are refused");
}

#[tokio::test]
async fn reader_sees_health_and_the_public_service_by_reflection() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    let channel = device.channel(Some(&ca.issue("kim", "reader", FAR))).await.expect("connects");
    let check = HealthCheckRequest { service: "skerry.v1.Node".into() };
    let health = HealthClient::new(channel.clone()).check(check).await.expect("answers").into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(ask)).await.expect("answers");
    let answer = answers.into_inner().message().await.expect("no error").expect("one answer").message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { panic!("another answer: {answer:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"skerry.v1.Node"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("internal")), "{names:?}");
}

#[tokio::test]
async fn strangers_leave_a_configured_device_and_one_machine_takes_not_every_place() {
    let ca = Ca::new("fleet");
    let device = Device::start(Some(&ca)).await;
    let kim = ca.issue("kim", "reader", FAR);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        // The last ones are closed at once: this machine has its share of places.
        strangers.extend(device.client(None).await);
    }
    assert!(strangers.len() < 20, "{}", strangers.len());
    assert!(device.client(Some(&kim)).await.is_err(), "the strangers of this machine hold its places");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut client = device.client(Some(&kim)).await.expect("they had to leave");
    assert!(reached_init(&client.status(StatusRequest {}).await.expect_err("init answers with an error")));
}
