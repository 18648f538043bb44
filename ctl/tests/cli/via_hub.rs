//! `--via hub`: the same commands over a connection that a hub carries, and what a hub that lies achieves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fake::{self, Fake};
use crate::fake_hub::{FakeHub, Leads, Setup};
use crate::hub::logged_in;
use crate::run::{Ran, minimal, skerryctl, write};

/// A hub that says `shop-1` is this device, and carries to that node.
fn hub(id: &str, leads: Leads) -> FakeHub {
    FakeHub::start(Setup { leads, devices: vec![json!({ "id": id, "name": "shop-1" })], ..Setup::default() })
}

fn node() -> (Fake, String) {
    let fake = Fake::start(fake::Setup::default());
    let id = fake.id.to_string();
    (fake, id)
}

fn via(dir: &Path, device: &str, arguments: &[&str]) -> Ran {
    skerryctl(dir, &[&["--via", "hub", "--device", device], arguments].concat())
}

#[test]
fn every_command_answers_as_if_the_node_were_here() {
    let (fake, id) = node();
    let hub = hub(&id, Leads::To(fake.node()));
    let dir = logged_in(&hub);
    for command in
        [&["logs", "k3s", "-f"][..], &["status"], &["version"], &["services"], &["get", "resources"], &["dmesg"], &["events"]]
    {
        let here = skerryctl(dir.path(), &[&["--node", &fake.node(), "--device", &id], command].concat()).ok();
        assert_eq!(via(dir.path(), &id, command).ok(), here, "{command:?}");
        let ran = via(dir.path(), "shop-1", command);
        assert!(ran.err.contains(&format!("says that shop-1 is device {id}")), "{}", ran.err);
        assert_eq!(ran.ok(), here, "{command:?}");
    }
    assert!(hub.seen().iter().any(|line| line == &format!("GET /api/v1/devices/{id}/tunnel")));
}

#[test]
fn a_hub_that_leads_to_another_device_is_found_out() {
    let (fake, id) = node();
    let other = "b".repeat(64);
    let hub = hub(&other, Leads::To(fake.node()));
    let dir = logged_in(&hub);
    for name in [&other, "shop-1"] {
        via(dir.path(), name, &["status"]).fails(7, &["another device answers", &other, &id]);
    }
}

#[test]
fn a_bit_that_the_hub_changes_anywhere_ends_the_connection_and_shows_nothing() {
    let (fake, id) = node();
    let here = skerryctl(Path::new("/"), &["--node", &fake.node(), "--device", &id, "status"]).ok();
    let mut found = 0;
    for at in (60..3000).step_by(210) {
        let hub = hub(&id, Leads::Changed(fake.node(), at));
        let dir = logged_in(&hub);
        let ran = via(dir.path(), &id, &["--timeout", "2", "status"]);
        if ran.code == 0 {
            assert_eq!(ran.out, here, "less was said than {at} bytes");
        } else {
            assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
            found += 1;
        }
    }
    assert!(found >= 5, "{found}: in the greeting and after it");
}

#[test]
fn a_configuration_goes_to_nobody_whom_only_the_hub_vouches_for() {
    let (fake, id) = node();
    let hub = hub(&id, Leads::To(fake.node()));
    let dir = logged_in(&hub);
    write(dir.path(), "node.yaml", &minimal(1));
    let apply = ["apply", "-f", "node.yaml"];
    via(dir.path(), "shop-1", &apply).fails(7, &["only the hub says", &id, "--trust-first-use"]);
    assert!(!hub.seen().iter().any(|line| line.ends_with("/tunnel")), "no connection was opened");
    via(dir.path(), &id, &apply).ok();
    write(dir.path(), "node.yaml", &minimal(1).replace("any: true", &format!("deviceId: {id}")));
    via(dir.path(), "shop-1", &apply).ok();
    write(dir.path(), "node.yaml", &minimal(1));
    let first = via(dir.path(), "shop-1", &[&apply[..], &["--trust-first-use"]].concat());
    assert!(first.err.contains("remembered shop-1"), "{}", first.err);
    first.ok();
    assert_eq!(via(dir.path(), "shop-1", &apply).err, "", "known from now on");
}

#[test]
fn a_remembered_name_stays_the_device_it_was_whatever_the_hub_says_later() {
    let (fake, id) = node();
    let hub = hub(&id, Leads::To(fake.node()));
    let dir = logged_in(&hub);
    via(dir.path(), "shop-1", &["status", "--trust-first-use"]).ok();
    let context = dir.path().join(".config/skerry/context.yaml");
    let text = std::fs::read_to_string(&context).unwrap();
    std::fs::write(&context, text.replace(&id, &"c".repeat(64))).unwrap();
    via(dir.path(), "shop-1", &["status"]).fails(7, &["another device answers", &"c".repeat(64)]);
}

#[test]
fn a_device_that_is_away_and_a_tunnel_that_breaks_say_so() {
    let id = "a".repeat(64);
    for (leads, code, words) in [
        (Leads::Nowhere, 8, ["not connected", "seen last"]),
        (Leads::Text, 3, ["text where the device's bytes belong", "hint"]),
        (Leads::Ends("the device's session ended"), 3, ["the hub ended it: the device's session ended", "hint"]),
    ] {
        let hub = hub(&id, leads);
        let dir = logged_in(&hub);
        via(dir.path(), &id, &["status"]).fails(code, &words);
    }
    let hub = hub(&id, Leads::Nowhere);
    let dir = logged_in(&hub);
    via(dir.path(), "shop-7", &["status"]).fails(6, &["no device `shop-7`"]);
    skerryctl(dir.path(), &["--via", "hub", "status"]).fails(2, &["no device is named", "--device"]);
    skerryctl(dir.path(), &["--node", "10.0.0.1", "--device", "shop-1", "status"]).fails(2, &["no device id", "--via hub"]);
}

#[test]
fn a_tunnel_is_a_local_port_until_it_is_ended() {
    let (fake, id) = node();
    let hub = hub(&id, Leads::To(fake.node()));
    let dir = logged_in(&hub);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("skerryctl"));
    command.current_dir(dir.path()).env_clear().env("HOME", dir.path()).stdout(Stdio::piped());
    let mut tunnel = command.args(["hub", "tunnel", "shop-1", "-o", "json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tunnel.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = said["listening"].as_str().unwrap();
    for _ in 0..3 {
        let shown = skerryctl(dir.path(), &["--node", port, "--device", &id, "logs", "k3s"]).ok();
        assert!(shown.contains("one"), "{shown}");
    }
    tunnel.kill().unwrap();
    tunnel.wait().unwrap();
}
