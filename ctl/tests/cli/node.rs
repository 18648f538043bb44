//! Commands that talk to a node: what they show, and what each failure says and ends with.

use std::path::Path;

use ctl::fleet::{ClientCertificate, Fleet};
use jiff::Timestamp;
use tonic::Code;

use crate::fake::{Fake, Setup, parrot};
use crate::run::{Ran, minimal, skerryctl, with_fleet, write};

/// Runs a command against a fake whose id is known.
fn ask(fake: &Fake, arguments: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "node.yaml", &minimal(1));
    ask_in(dir.path(), fake, arguments)
}

fn ask_in(dir: &Path, fake: &Fake, arguments: &[&str]) -> Ran {
    let (node, id) = (fake.node(), fake.id.to_string());
    skerryctl(dir, &[&["--node", &node, "--device", &id], arguments].concat())
}

fn refusing(code: Code, word: &'static str, message: &'static str) -> Fake {
    Fake::start(Setup { refuse: Some((code, word, message)), ..Setup::default() })
}

#[test]
fn tables_for_people_hold_their_form() {
    let fake = Fake::start(Setup::default());
    let things = ["hardware", "resources", "processes", "containers", "disks", "links", "mounts", "config"];
    let mut commands: Vec<(String, Vec<&str>)> =
        things.iter().map(|thing| (format!("get_{thing}"), vec!["get", thing])).collect();
    for command in ["version", "status", "services", "dmesg", "events", "boot-times"] {
        commands.push((command.replace('-', "_"), vec![command]));
    }
    commands.push(("status_watch".into(), vec!["status", "--watch"]));
    commands.push(("logs".into(), vec!["logs", "k3s"]));
    commands.push(("apply".into(), vec!["apply", "-f", "node.yaml"]));
    commands.push(("apply_dry_run".into(), vec!["apply", "-f", "node.yaml", "--dry-run"]));
    for (name, command) in commands {
        insta::assert_snapshot!(name, ask(&fake, &command).ok());
    }
}

#[test]
fn field_names_for_programs_are_stable() {
    let fake = Fake::start(Setup::default());
    for (name, command) in [
        ("json_status", vec!["status", "-o", "json"]),
        ("json_services", vec!["services", "-o", "json"]),
        ("json_resources", vec!["get", "resources", "-o", "json"]),
        ("json_hardware", vec!["get", "hardware", "-o", "json"]),
        ("json_logs", vec!["logs", "k3s", "-o", "json"]),
        ("json_apply", vec!["apply", "-f", "node.yaml", "-o", "json"]),
        ("json_boot_times", vec!["boot-times", "-o", "json"]),
        ("yaml_events", vec!["events", "-o", "yaml"]),
        ("yaml_containers", vec!["get", "containers", "-o", "yaml"]),
    ] {
        insta::assert_snapshot!(name, ask(&fake, &command).ok());
    }
}

#[test]
fn an_unreachable_node_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    skerryctl(dir.path(), &["--node", &closed, "status"]).fails(3, &[&closed, "nothing listens", "booting"]);
    let silent = parrot(b"").to_string();
    skerryctl(dir.path(), &["--node", &silent, "--timeout", "0.3", "status"]).fails(3, &["no answer within 0.3 s", "--timeout"]);
    skerryctl(dir.path(), &["--node", "no-such-host.invalid", "status"]).fails(3, &["cannot be resolved", "console"]);
}

#[test]
fn an_unknown_device_is_shown_and_remembered_only_when_asked() {
    let fake = Fake::start(Setup::default());
    let dir = with_fleet();
    let (node, id) = (fake.node(), fake.id.to_string());
    let status = ["--context", "acme", "--node", &node, "status"];
    skerryctl(dir.path(), &status).fails(7, &[&id, "not known yet", "--device", "--trust-first-use"]);

    let first = skerryctl(dir.path(), &[&status[..], &["--trust-first-use"]].concat());
    assert!(first.err.contains(&format!("remembered {node} as device {id}")), "{}", first.err);
    first.ok();
    assert_eq!(skerryctl(dir.path(), &status).err, "", "known from now on");

    let context = std::fs::read_to_string(dir.path().join("acme/context.yaml")).unwrap();
    write(dir.path(), "acme/context.yaml", &context.replace(&id, &"b".repeat(64)));
    let again = [&status[..], &["--trust-first-use"]].concat();
    skerryctl(dir.path(), &again).fails(7, &["another device answers", &id, &"b".repeat(64)]);
}

#[test]
fn a_configuration_for_one_device_is_sent_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = Fake::start(Setup::default()).node();
    let meant = "c".repeat(64);
    write(dir.path(), "node.yaml", &minimal(1).replace("any: true", &format!("deviceId: {meant}")));
    skerryctl(dir.path(), &["--node", &node, "apply", "-f", "node.yaml"]).fails(7, &["another device answers", &meant]);
}

#[test]
fn a_refused_configuration_ends_with_4_and_its_code() {
    for (code, word) in
        [(Code::InvalidArgument, "signature"), (Code::FailedPrecondition, "generation-older"), (Code::InvalidArgument, "target")]
    {
        let fake = refusing(code, word, "refused: because");
        ask(&fake, &["apply", "-f", "node.yaml"]).fails(4, &[&format!("refuses the configuration ({word}): because"), "hint:"]);
        let error = ask(&fake, &["apply", "-f", "node.yaml", "-o", "json"]).fails(4, &[]);
        let error: serde_json::Value = serde_json::from_str(&error).unwrap();
        assert_eq!((&error["refusal"], &error["exit"]), (&word.into(), &4.into()));
    }
}

#[test]
fn each_refused_call_has_its_exit_code() {
    for (code, word, exit, words) in [
        (Code::FailedPrecondition, "maintenance", 8, ["in maintenance", "skerryctl apply"]),
        (Code::Unauthenticated, "certificate-missing", 5, ["none was shown", "--context"]),
        (Code::PermissionDenied, "role-too-low", 5, ["x-message", "--role operator"]),
        (Code::NotFound, "", 6, ["x-message", "error:"]),
        (Code::FailedPrecondition, "", 8, ["x-message", "cannot do this now"]),
        (Code::Internal, "", 1, ["x-message", "fails at Reboot"]),
        (Code::Unimplemented, "", 1, ["does not know Reboot", "older"]),
    ] {
        ask(&refusing(code, word, "x-message"), &["reboot", "--yes"]).fails(exit, &words);
    }
}

#[test]
fn stopping_a_machine_needs_a_yes() {
    let fake = Fake::start(Setup::default());
    for command in ["reboot", "poweroff"] {
        ask(&fake, &[command]).fails(2, &[&fake.node(), "--yes"]);
        ask(&fake, &[command, "--yes"]).ok();
    }
    let restarted = ask(&fake, &["services", "restart", "k3s"]).ok();
    assert_eq!(restarted, "k3s restarted\n");
}

/// A node configured with the client CA of fleet `acme`.
fn guarded(dir: &Path, certificate_required: bool) -> Fake {
    let client_ca = Fleet::open(&dir.join("acme")).unwrap().client_ca().unwrap();
    Fake::start(Setup { client_ca: Some(client_ca), certificate_required, ..Setup::default() })
}

fn issue(dir: &Path, fleet: &str, not_after: Timestamp) {
    let request = ClientCertificate { role: api::Role::Admin, name: "kim".into(), not_after };
    let pem = Fleet::open(&dir.join(fleet)).unwrap().issue(&request, None).unwrap();
    write(dir, "kim.pem", &pem);
}

#[test]
fn the_certificate_of_the_context_is_shown() {
    let dir = with_fleet();
    let fake = guarded(dir.path(), true);
    ask_in(dir.path(), &fake, &["--context", "acme", "version"]).ok();
    ask_in(dir.path(), &fake, &["version"]).fails(5, &["none was shown", "--context", "--cert"]);
}

#[test]
fn an_expired_certificate_and_one_of_another_ca_say_so() {
    let dir = with_fleet();
    let fake = guarded(dir.path(), false);
    issue(dir.path(), "acme", Timestamp::now() - jiff::SignedDuration::from_hours(1));
    ask_in(dir.path(), &fake, &["--cert", "kim.pem", "version"]).fails(5, &["`kim` is not valid now", "fleet cert"]);

    let options = ctl::fleet::InitOptions::new("other".parse().unwrap());
    ctl::fleet::init(&dir.path().join("other"), &options).unwrap();
    issue(dir.path(), "other", Timestamp::now() + jiff::SignedDuration::from_hours(1));
    ask_in(dir.path(), &fake, &["--cert", "kim.pem", "version"]).fails(5, &["`kim` is not signed by the CA", "api.clientCa"]);
}

#[test]
fn a_certificate_file_without_a_key_is_named() {
    let dir = with_fleet();
    let fake = Fake::start(Setup::default());
    std::fs::copy(dir.path().join("acme/client-ca.pem"), dir.path().join("ca.pem")).unwrap();
    ask_in(dir.path(), &fake, &["--cert", "ca.pem", "version"]).fails(5, &["ca.pem", "no PEM private key"]);
    write(dir.path(), "empty.pem", "");
    ask_in(dir.path(), &fake, &["--cert", "empty.pem", "version"]).fails(5, &["empty.pem", "no PEM certificate"]);
}
