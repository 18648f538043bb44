//! `skerry-hub` as a program: it just works in an empty folder, says what an admin needs once, and costs little per connected device.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use api::hub::v1::{Answer, Inventory, device_message, hub_message, verdict};
use hub::enrol::Act;
use hub::model::{Actor, By, Policy, Strangers, Time};
use hub::store::Store;
use machine_config::DeviceId;
use support::device::{Call, key};

/// Devices that are connected at once.
const DEVICES: u32 = 300;

struct Program {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Program {
    fn serve(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skerry-hub"))
            .args(["serve", "--listen", "127.0.0.1:0", "--calls-per-second", "1000", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let address = word(&mut said, "hub").trim_start_matches("https://").parse().expect("an address");
        Self { child, said, address }
    }

    fn resident(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("it runs");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The second word of the next line, whose first is this.
fn word(said: &mut impl BufRead, first: &str) -> String {
    let mut line = String::new();
    said.read_line(&mut line).expect("it says something");
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some(first), "{line}");
    words.next().expect("a second word").to_owned()
}

fn output(command: &[&str], data: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_skerry-hub")).args(command).arg("--data").arg(data).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Calls, answers what is asked, and gives the call when the device is admitted.
async fn enrol(program: &Program, pin: &[u8; 32], number: u32) -> Option<Call> {
    let mut call = Call::open(program.address, pin).await.expect("a call");
    call.greet(&key(number), pin).await;
    loop {
        match call.next().await.expect("a word") {
            hub_message::Kind::Ask(_) => {
                let answer = Answer { inventory: Some(Inventory::default()), ..Answer::default() };
                call.send(device_message::Kind::Answer(answer)).await;
            }
            hub_message::Kind::Verdict(verdict) => match verdict.kind {
                Some(verdict::Kind::Admitted(_)) => return Some(call),
                Some(verdict::Kind::Pending(_)) => return None,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_just_works_and_three_hundred_devices_cost_it_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::serve(folder.path());
    let pin_text = word(&mut program.said, "pin");
    assert!(word(&mut program.said, "admin").starts_with("ska_"));
    assert_eq!(output(&["pin"], folder.path()), pin_text);
    assert!(output(&["admin-token"], folder.path()).starts_with("ska_"), "beside the running hub");
    let pin: [u8; 32] = hex::decode(&pin_text).expect("hexadecimal").try_into().expect("32 bytes");

    let store = Store::open_folder(folder.path(), Time::now()).await.expect("the database");
    let by = By::new(Actor::Host, "", Time::now());
    store.put_policy(&Policy { strangers: Strangers::Wait, ..Policy::default() }, &by).await.expect("a policy");
    let mut ids = Vec::new();
    for number in 0..DEVICES + 20 {
        assert!(enrol(&program, &pin, number).await.is_none(), "it waits");
        ids.push(DeviceId::of(&key(number).verifying_key()));
    }
    for approved in store.change_state(Act::Approve, &ids, "", &by).await {
        approved.expect("approved");
    }
    let mut calls = Vec::new();
    for number in 0..20 {
        calls.push(enrol(&program, &pin, number).await.expect("admitted"));
    }
    let before = program.resident();
    for number in 20..DEVICES + 20 {
        calls.push(enrol(&program, &pin, number).await.expect("admitted"));
    }
    let each = program.resident().saturating_sub(before) / DEVICES as usize;
    println!("{each} bytes of the hub per connected device");
    assert!(each < 100 << 10, "{each} bytes");

    // Killed at once, and started again: nothing that was answered is lost.
    drop(program);
    drop(calls);
    let mut program = Program::serve(folder.path());
    assert_eq!(word(&mut program.said, "pin"), pin_text);
    assert_eq!(word(&mut program.said, "admin"), "as", "no second admin token");
    for number in 0..20 {
        enrol(&program, &pin, number).await.expect("still admitted");
    }
    assert!(output(&["audit", "verify"], folder.path()).contains("each as it was written"));
}

#[test]
fn the_log_is_json_where_that_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_skerry-hub"))
        .args(["--log", "json", "serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    word(&mut said, "hub");
    let stop = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(stop.success());
    let output = child.wait_with_output().expect("it stops");
    assert!(output.status.success(), "{:?}", output.status);
    let log = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| line["message"] == "stopping" && line["level"] == "INFO"), "{log}");
}
