//! `skerryctl hub …`: what is sent, what is shown, and what each refusal ends with.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::parrot;
use crate::fake_hub::{FakeHub, Setup, TOKEN};
use crate::run::{Ran, minimal, skerryctl, write};

/// A folder whose owner has logged in.
pub fn logged_in(hub: &FakeHub) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", TOKEN);
    login(dir.path(), hub, &["--pin", &hub.pin]).ok();
    dir
}

fn login(dir: &Path, hub: &FakeHub, more: &[&str]) -> Ran {
    skerryctl(dir, &[&["hub", "login", &hub.url(), "--token-file", "token"], more].concat())
}

fn device(digit: char, name: &str) -> Value {
    json!({
        "id": String::from_iter([digit; 64]), "name": name, "state": "pending", "reason": "", "site": "Hamburg",
        "release": { "version": "0.1.0", "board": "nuc" }, "serials": [format!("FZ-{digit}")], "groups": ["north"],
        "labels": { "shop": "0421" }, "lastSeen": "2026-11-20T12:00:00.123Z", "configGeneration": 7, "healthy": true,
        "somethingNew": 1,
    })
}

fn with_devices() -> FakeHub {
    let devices =
        vec![device('a', "shop-1"), device('b', "shop-2"), device('c', "twin"), device('d', "twin"), device('e', "\x1b[2J<b>")];
    FakeHub::start(Setup { devices, ..Setup::default() })
}

fn answering(method: &'static str, path: &str, status: u16, body: Value) -> FakeHub {
    FakeHub::start(Setup { answers: vec![(method, path.to_owned(), status, body)], ..Setup::default() })
}

#[test]
fn a_login_is_kept_and_its_token_shown_nowhere() {
    let hub = FakeHub::start(Setup::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", &format!("{TOKEN}\n"));
    let ran = login(dir.path(), &hub, &["--pin", &hub.pin]);
    assert!(!ran.err.contains(TOKEN) && !ran.out.contains(TOKEN));
    assert!(ran.ok().contains("operator"));
    let folder = dir.path().join(".config/skerry");
    let context = std::fs::read_to_string(folder.join("context.yaml")).unwrap();
    assert!(context.contains(&hub.url()) && context.contains(&hub.pin) && !context.contains(TOKEN), "{context}");
    assert_eq!(std::fs::metadata(folder.join("hub.token")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(skerryctl(dir.path(), &["hub", "whoami"]).ok().contains("token:ops"));
    assert!(skerryctl(dir.path(), &["hub", "logout"]).ok().contains(&hub.url()));
    assert!(!folder.join("hub.token").exists());
    skerryctl(dir.path(), &["hub", "whoami"]).fails(2, &["no hub is known", "skerryctl hub login"]);
}

#[test]
fn a_hub_nobody_vouches_for_is_sent_nothing() {
    let hub = FakeHub::start(Setup::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", TOKEN);
    login(dir.path(), &hub, &[]).fails(7, &["no authority", &hub.pin, "--pin PIN", "skerry-hub pin"]);
    login(dir.path(), &hub, &["--pin", &"ab".repeat(32)]).fails(7, &["another key answers", &hub.pin, &"ab".repeat(32)]);
    assert_eq!(hub.seen(), Vec::<String>::new());
    assert!(!dir.path().join(".config").exists(), "and nothing is remembered");
}

#[test]
fn a_wrong_token_is_not_remembered_and_a_senseless_one_not_sent() {
    let hub = FakeHub::start(Setup::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", "ska_wrong");
    let error = login(dir.path(), &hub, &["--pin", &hub.pin]).fails(5, &["cannot take this token", "skerry-hub admin-token"]);
    assert!(!error.contains("ska_wrong"));
    for senseless in ["", "two words", "ska_\x07"] {
        write(dir.path(), "token", senseless);
        login(dir.path(), &hub, &["--pin", &hub.pin]).fails(2, &["visible characters"]);
    }
    assert_eq!(hub.seen().len(), 1);
    assert!(!dir.path().join(".config").exists());
    skerryctl(dir.path(), &["hub", "login", "http://hub.example"]).fails(2, &["https://"]);
    skerryctl(dir.path(), &["hub", "login", &hub.url()]).fails(2, &["no terminal", "--token-file"]);
}

#[test]
fn devices_are_a_table_for_people_and_the_hubs_own_words_for_programs() {
    let hub = with_devices();
    let dir = logged_in(&hub);
    insta::assert_snapshot!(
        "hub_devices",
        skerryctl(dir.path(), &["hub", "devices", "--state", "pending", "--label", "shop=0421"]).ok()
    );
    assert!(hub.seen().contains(&"GET /api/v1/devices?state=pending&label=shop%3D0421&limit=100".to_owned()), "{:?}", hub.seen());
    let shown: Value = serde_json::from_str(&skerryctl(dir.path(), &["hub", "devices", "-o", "json"]).ok()).unwrap();
    assert_eq!((&shown["items"][0]["somethingNew"], &shown["total"]), (&json!(1), &json!(5)));
}

#[test]
fn devices_are_approved_by_name_and_nothing_is_done_when_one_is_misspelt() {
    let hub = with_devices();
    let dir = logged_in(&hub);
    let run = |arguments: &[&str]| skerryctl(dir.path(), &[&["hub"], arguments].concat());
    run(&["approve", "shop-1", "FZ-b", &"c".repeat(64)]).ok();
    let ids = format!("{{\"ids\":[\"{}\",\"{}\",\"{}\"],\"reason\":\"\"}}", "a".repeat(64), "b".repeat(64), "c".repeat(64));
    assert_eq!(hub.seen().last().unwrap(), &format!("POST /api/v1/devices/approve {ids}"));
    run(&["refuse", "bbbbbbbb", "--reason", "not ours"]).ok();
    assert!(hub.seen().last().unwrap().ends_with("\"reason\":\"not ours\"}"));
    let before = hub.seen().iter().filter(|line| line.starts_with("POST")).count();
    run(&["approve", "shop-1", "shop"]).fails(6, &["no device `shop`", "hub devices"]);
    run(&["approve", "twin"]).fails(2, &["more than one device `twin`", &"c".repeat(64), &"d".repeat(64)]);
    run(&["remove", "shop-1"]).fails(2, &["revoke the key of shop-1", "--yes"]);
    assert_eq!(hub.seen().iter().filter(|line| line.starts_with("POST")).count(), before);
    run(&["remove", "shop-1", "--yes"]).ok();
}

#[test]
fn a_device_that_stays_as_it_is_fails_the_command() {
    let result = json!({ "results": [{ "id": "a".repeat(64), "code": "transition", "message": "it was removed" }] });
    let hub = answering("POST", "/api/v1/devices/approve", 200, result);
    let dir = logged_in(&hub);
    let ran = skerryctl(dir.path(), &["hub", "approve", &"a".repeat(64)]);
    assert!(ran.out.contains("it was removed"), "{}", ran.out);
    ran.fails(1, &["1 of 1 devices"]);
}

#[test]
fn a_join_token_is_asked_for_with_its_terms_and_shown_once() {
    let token = json!({ "id": "0123456789ab", "usesLeft": 3, "uses": 0, "binding": { "serial": "FZ1" }, "groups": ["north"] });
    let text = "skj_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let hub = answering("POST", "/api/v1/tokens", 201, json!({ "token": token, "text": text }));
    let dir = logged_in(&hub);
    let create =
        ["hub", "token", "create", "--name", "batch", "--uses", "3", "--serial", "FZ1", "--label", "shop=1", "--group", "north"];
    let shown = skerryctl(dir.path(), &[&create[..], &["--days", "2"]].concat()).ok();
    assert!(shown.contains(text) && shown.contains("serial FZ1") && shown.contains("shown this once"), "{shown}");
    let sent = hub.seen().pop().unwrap();
    let sent: Value = serde_json::from_str(sent.strip_prefix("POST /api/v1/tokens ").unwrap()).unwrap();
    assert_eq!((&sent["name"], &sent["uses"], &sent["binding"]["serial"]), (&json!("batch"), &json!(3), &json!("FZ1")));
    assert_eq!((&sent["labels"], &sent["groups"]), (&json!({ "shop": "1" }), &json!(["north"])));
    sent["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    skerryctl(dir.path(), &["hub", "token", "revoke", "../users"]).ok();
    assert_eq!(hub.seen().pop().unwrap(), "DELETE /api/v1/tokens/..%2Fusers");
}

#[test]
fn a_token_that_is_there_already_is_registered_and_shown_nowhere() {
    let token = json!({ "id": "0123456789ab", "usesLeft": 1, "uses": 0, "binding": { "serial": "FZ1" } });
    let text = "5f".repeat(32);
    let hub = answering("POST", "/api/v1/tokens", 201, json!({ "token": token, "text": text }));
    let dir = logged_in(&hub);
    write(dir.path(), "shop-1.token", &format!("{text}\n"));
    let create = ["hub", "token", "create", "--text-from", "shop-1.token", "--serial", "FZ1"];
    for output in [&["-o", "table"][..], &["-o", "json"]] {
        let shown = skerryctl(dir.path(), &[&create[..], output].concat()).ok();
        assert!(shown.contains("0123456789ab") && !shown.contains(&text), "{shown}");
        let sent = hub.seen().pop().unwrap();
        let sent: Value = serde_json::from_str(sent.strip_prefix("POST /api/v1/tokens ").unwrap()).unwrap();
        assert_eq!((&sent["text"], &sent["uses"], &sent["binding"]["serial"]), (&json!(text), &json!(1), &json!("FZ1")));
    }
    let before = hub.seen().len();
    for bad in ["", "too-short", "with a space in it", &"x".repeat(257)] {
        write(dir.path(), "bad", bad);
        let ran = skerryctl(dir.path(), &["hub", "token", "create", "--text-from", "bad"]);
        assert!(bad.is_empty() || !ran.err.contains(bad), "{}", ran.err);
        ran.fails(2, &["bad", "16 to 256"]);
    }
    assert_eq!(hub.seen().len(), before, "nothing is sent");
}

fn config(digest: &str) -> Value {
    json!({ "digest": digest, "name": "shop-1", "fleet": "acme", "generation": 7, "target": "serial FZ1", "keyId": "0123456789abcdef",
            "uploadedBy": "token:ops", "uploadedAt": "2026-11-20T12:00:00Z", "size": 5 })
}

#[test]
fn a_configuration_is_pushed_and_assigned_to_whom_it_is_for() {
    let digest = "ab".repeat(32);
    let devices = vec![device('a', "shop-1")];
    let answers = vec![("POST", "/api/v1/configs".to_owned(), 201, config(&digest))];
    let hub = FakeHub::start(Setup { devices, answers, ..Setup::default() });
    let dir = logged_in(&hub);
    write(dir.path(), "node.yaml", &minimal(7));
    let push = ["hub", "config", "push", "node.yaml"];
    assert!(skerryctl(dir.path(), &push).ok().contains("assigned to nobody yet"));
    skerryctl(dir.path(), &[&push[..], &["--device", "shop-1"]].concat()).ok();
    let seen = hub.seen();
    assert_eq!(seen[seen.len() - 2], format!("POST /api/v1/configs {}", minimal(7)).trim());
    let assigned = format!("POST /api/v1/configs/{digest}/assignments {{\"to\":\"device:{}\"}}", "a".repeat(64));
    assert_eq!(seen[seen.len() - 1], assigned);
    skerryctl(dir.path(), &[&push[..], &["--label", "shop=1"]].concat()).ok();
    assert!(hub.seen().pop().unwrap().ends_with("{\"to\":\"label:shop=1\"}"));
    let before = hub.seen().iter().filter(|line| line.starts_with("POST")).count();
    skerryctl(dir.path(), &[&push[..], &["--device", "shop-9"]].concat()).fails(6, &["shop-9"]);
    assert_eq!(hub.seen().iter().filter(|line| line.starts_with("POST")).count(), before, "nothing is uploaded for nobody");
}

#[test]
fn a_configuration_that_devices_would_refuse_ends_with_4_and_its_code() {
    let refusal = json!({ "code": "signature", "message": "the signature does not hold" });
    let hub = answering("POST", "/api/v1/configs", 422, refusal);
    let dir = logged_in(&hub);
    write(dir.path(), "node.yaml", &minimal(7));
    let push = ["hub", "config", "push", "node.yaml"];
    skerryctl(dir.path(), &push).fails(4, &["refuses the configuration (signature)", "config verify"]);
    let error: Value =
        serde_json::from_str(&skerryctl(dir.path(), &[&push[..], &["-o", "json"]].concat()).fails(4, &[])).unwrap();
    assert_eq!((&error["refusal"], &error["exit"]), (&json!("signature"), &json!(4)));
}

#[test]
fn a_rollout_is_told_device_by_device() {
    let digest = "ab".repeat(32);
    let mut one = config(&digest);
    one["assignments"] = json!([{ "to": "group:north", "by": "token:ops" }]);
    one["rollout"] = json!({ "running": 1, "taken": 0, "offered": 0, "refused": 1 });
    let deliveries = json!({ "items": [
        { "device": "a".repeat(64), "digest": digest, "state": "running", "at": "2026-11-20T12:00:00.5Z" },
        { "device": "b".repeat(64), "digest": digest, "state": "refused", "code": "target", "message": "for another", "at": "2026-11-20T12:00:00Z" },
    ]});
    let at = |path: &str| format!("/api/v1/configs{path}");
    let answers = vec![
        ("GET", at(""), 200, json!({ "items": [config(&digest)] })),
        ("GET", at(&format!("/{digest}")), 200, one),
        ("GET", at(&format!("/{digest}/deliveries")), 200, deliveries),
    ];
    let hub = FakeHub::start(Setup { answers, ..Setup::default() });
    let dir = logged_in(&hub);
    let by_name = skerryctl(dir.path(), &["hub", "rollout", "status", "shop-1"]).ok();
    insta::assert_snapshot!("hub_rollout", by_name);
    assert_eq!(skerryctl(dir.path(), &["hub", "rollout", "status", &digest[..12]]).ok(), by_name);
    skerryctl(dir.path(), &["hub", "rollout", "status", "shop-2"]).fails(6, &["no configuration `shop-2`"]);
}

#[test]
fn fleets_stations_and_manifests_are_told_by_their_files() {
    let imported = json!({ "added": 2, "updated": 0, "unrecognisable": ["x-1"] });
    let with_token = json!({ "added": 2, "updated": 0, "tokens": 7, "unrecognisable": [] });
    let answers =
        vec![("POST", "/api/v1/manifests".to_owned(), 200, with_token), ("POST", "/api/v1/records".to_owned(), 200, imported)];
    let hub = FakeHub::start(Setup { answers, ..Setup::default() });
    let dir = logged_in(&hub);
    ctl::fleet::init(&dir.path().join("acme"), &ctl::fleet::InitOptions::new("acme".parse().unwrap())).unwrap();
    for given in ["acme", "acme/fleet.pub"] {
        assert_eq!(skerryctl(dir.path(), &["hub", "fleet", "add", given]).ok(), "acme registered\n");
        assert!(hub.seen().pop().unwrap().starts_with("POST /api/v1/fleets {"), "its public key and nothing else");
    }
    skerryctl(dir.path(), &["hub", "fleet", "add", "token"]).fails(2, &["fleet.pub"]);
    write(dir.path(), "station.pub", &format!("{}\n", "cd".repeat(32)));
    skerryctl(dir.path(), &["hub", "station", "add", "bench", "station.pub"]).ok();
    assert!(hub.seen().pop().unwrap().contains(&"cd".repeat(32)));
    write(dir.path(), "a.manifest.json", "{\n}\n");
    write(dir.path(), "flash.log", "{\"form\":\"skerry.dev/v1 flash record\"}\n");
    let shown = skerryctl(dir.path(), &["hub", "manifest", "import", "a.manifest.json", "flash.log"]).ok();
    assert!(shown.contains("flash.log") && shown.contains("x-1"), "{shown}");
    assert!(shown.contains("TOKENS") && shown.contains('7'), "{shown}");
    let seen = hub.seen();
    assert!(
        seen[seen.len() - 2].starts_with("POST /api/v1/manifests") && seen[seen.len() - 1].starts_with("POST /api/v1/records")
    );
}

#[test]
fn the_audit_is_asked_for_by_device_and_shown_in_lines() {
    let line = json!({ "seq": 9, "at": "2026-11-20T12:00:00Z", "actor": "user:kim", "action": "device.approve", "device": "a".repeat(64),
                       "address": "192.0.2.1", "details": { "reason": "x" }, "previous": "0", "hash": "1" });
    let hub = answering("GET", "/api/v1/audit", 200, json!({ "items": [line] }));
    let dir = logged_in(&hub);
    let id = "a".repeat(64);
    let shown = skerryctl(dir.path(), &["hub", "audit", "--device", &id, "--action", "device."]).ok();
    assert!(shown.contains("user:kim") && shown.contains("device.approve") && shown.contains("192.0.2.1"), "{shown}");
    assert_eq!(hub.seen().pop().unwrap(), format!("GET /api/v1/audit?device={id}&action=device.&limit=100"));
}

fn with_image(breaks_after: usize) -> FakeHub {
    let file: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
    let sha256 = machine_config::types::Digest::of(&file).to_string();
    let image = json!({ "name": "file", "bytes": file.len(), "sha256": sha256, "stampable": true, "beside": ["file.sha256"] });
    let changed = json!({ "name": "changed", "bytes": file.len(), "sha256": "ab".repeat(32), "stampable": false, "beside": [] });
    let prepared = json!({ "path": "/api/v1/downloads/secret/file", "name": "file", "bytes": file.len(), "baseSha256": "cd".repeat(32),
                           "token": { "id": "0123456789ab" }, "expiresAt": "2026-11-20T12:00:00Z" });
    let answers = vec![
        ("GET", "/api/v1/images".to_owned(), 200, json!({ "items": [image, changed] })),
        ("POST", "/api/v1/images/file/downloads".to_owned(), 201, prepared),
    ];
    FakeHub::start(Setup { answers, file, breaks_after, ..Setup::default() })
}

#[test]
fn an_image_that_breaks_off_goes_on_where_it_was_and_is_whole_in_the_end() {
    let hub = with_image(30_000);
    let dir = logged_in(&hub);
    assert!(skerryctl(dir.path(), &["hub", "images"]).ok().contains("97.7 KiB"));
    skerryctl(dir.path(), &["hub", "download", "file", "--as-is", "--out", "base.img"]).ok();
    let download = ["hub", "download", "file", "--out", "shop-1.img", "--name", "shop-1", "--serial", "FZ1"];
    skerryctl(dir.path(), &download).ok();
    for name in ["base.img", "shop-1.img"] {
        assert_eq!(std::fs::read(dir.path().join(name)).unwrap().len(), 100_000, "{name}");
    }
    assert_eq!(
        std::fs::metadata(dir.path().join("shop-1.img")).unwrap().permissions().mode() & 0o777,
        0o600,
        "it holds a join token"
    );
    assert_eq!(hub.seen().iter().filter(|line| *line == "GET /api/v1/downloads/secret/file").count(), 4);
    let asked = hub.seen().into_iter().find(|line| line.starts_with("POST")).unwrap();
    assert!(asked.contains("\"deviceName\":\"shop-1\"") && asked.contains("\"serial\":\"FZ1\""), "{asked}");
    let before = hub.seen().len();
    skerryctl(dir.path(), &download).fails(1, &["shop-1.img", "exists already"]);
    assert_eq!(hub.seen().len(), before, "no join token is made for nothing");
}

#[test]
fn an_image_that_is_another_or_never_comes_leaves_no_file() {
    let hub = with_image(30_000);
    let dir = logged_in(&hub);
    skerryctl(dir.path(), &["hub", "download", "changed", "--as-is", "--out", "x.img"])
        .fails(1, &["SHA-256", "the hub lists abab"]);
    skerryctl(dir.path(), &["hub", "download", "other", "--as-is", "--out", "x.img"]).fails(6, &["no image `other`"]);
    let hub = with_image(0);
    let dead = logged_in(&hub);
    skerryctl(dead.path(), &["hub", "download", "file", "--as-is", "--out", "x.img"]).fails(3, &["broke"]);
    assert!(!dir.path().join("x.img").exists() && !dead.path().join("x.img").exists());
}

#[test]
fn each_refusal_of_a_hub_has_its_exit_code() {
    for (status, code, exit, words) in [
        (401, "credentials", 5, "hub login"),
        (403, "role", 5, "hub whoami"),
        (404, "not-found", 6, "x-message"),
        (409, "in-use", 8, "x-message"),
        (429, "often", 8, "wait"),
        (500, "internal", 1, "x-message"),
        (302, "", 1, "does not follow"),
    ] {
        let hub = answering("GET", "/api/v1/tokens", status, json!({ "code": code, "message": "x-message" }));
        let dir = logged_in(&hub);
        skerryctl(dir.path(), &["hub", "token", "list"]).fails(exit, &[words]);
    }
    let hub = answering("GET", "/api/v1/tokens", 200, json!({ "items": 7 }));
    let dir = logged_in(&hub);
    skerryctl(dir.path(), &["hub", "token", "list"]).fails(1, &["cannot understand the answer", "version"]);
}

#[test]
fn people_and_api_tokens_are_changed_one_thing_at_a_time() {
    let person = json!({ "name": "kim", "displayName": "Kim", "effectiveRole": "reader", "role": null, "groups": ["all"], "locked": true });
    let token = json!({ "id": "0123456789ab", "name": "van-3", "role": "installer", "scopes": [] });
    let text = "ska_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let answers = vec![
        ("GET", "/api/v1/users".to_owned(), 200, json!({ "items": [person], "total": 1 })),
        ("PATCH", "/api/v1/users/kim%2Fa".to_owned(), 200, Value::Null),
        ("PUT", "/api/v1/installers/user%3Akim".to_owned(), 200, Value::Null),
        ("PUT", "/api/v1/installers/token%3Avan-3".to_owned(), 200, Value::Null),
        ("GET", "/api/v1/api-tokens".to_owned(), 200, json!({ "items": [token], "total": 1 })),
        ("POST", "/api/v1/api-tokens".to_owned(), 201, json!({ "token": token, "text": text })),
    ];
    let hub = FakeHub::start(Setup { answers, ..Setup::default() });
    let dir = logged_in(&hub);
    let run = |arguments: &[&str]| skerryctl(dir.path(), &[&["hub"], arguments].concat());
    let last = || hub.seen().pop().unwrap();
    let shown = run(&["user", "list"]).ok();
    assert!(
        shown.contains("kim") && shown.contains("reader") && shown.contains("locked out") && shown.contains("never"),
        "{shown}"
    );
    run(&["user", "role", "kim/a", "operator"]).ok();
    assert_eq!(last(), "PATCH /api/v1/users/kim%2Fa {\"role\":\"operator\"}");
    run(&["user", "role", "kim/a", "none"]).ok();
    assert_eq!(last(), "PATCH /api/v1/users/kim%2Fa {\"role\":null}");
    run(&["user", "lock", "kim/a"]).ok();
    assert_eq!(last(), "PATCH /api/v1/users/kim%2Fa {\"locked\":true}");
    run(&["user", "unlock", "kim/a"]).ok();
    assert_eq!(last(), "PATCH /api/v1/users/kim%2Fa {\"locked\":false}");
    run(&["user", "sites", "kim", "Store 1", "Store 2"]).ok();
    assert_eq!(last(), "PUT /api/v1/installers/user%3Akim {\"sites\":[\"Store 1\",\"Store 2\"]}");
    assert!(run(&["api-token", "list"]).ok().contains("van-3"));
    let asked = hub.seen().len();
    run(&["api-token", "create", "van-3", "--role", "installer"]).fails(2, &["claims nothing without a site", "--site"]);
    run(&["api-token", "create", "ci", "--role", "reader", "--site", "x"]).fails(2, &["installers alone"]);
    run(&["api-token", "create", "ci", "--role", "boss"]).fails(2, &["boss"]);
    assert_eq!(hub.seen().len(), asked);
    let made = run(&["api-token", "create", "van-3", "--role", "installer", "--site", "Store 1", "--scope", "claims"]).ok();
    assert!(made.contains(text) && made.contains("shown this once"), "{made}");
    let sent = hub.seen();
    assert_eq!(sent[sent.len() - 2], "PUT /api/v1/installers/token%3Avan-3 {\"sites\":[\"Store 1\"]}");
    assert!(last().contains("\"role\":\"installer\"") && last().contains("\"scopes\":[\"claims\"]"), "{}", last());
    run(&["api-token", "revoke", "0123456789ab"]).ok();
    assert_eq!(last(), "DELETE /api/v1/api-tokens/0123456789ab");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let hub = answering("GET", "/api/v1/tokens", 200, json!("x".repeat(33 << 20)));
    let dir = logged_in(&hub);
    skerryctl(dir.path(), &["hub", "token", "list"]).fails(1, &["longer than", "--limit"]);
}

#[test]
fn a_hub_that_is_away_silent_or_none_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", TOKEN);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = |address: &str, more: &[&str]| {
        skerryctl(dir.path(), &[&["hub", "login", address, "--token-file", "token", "--timeout", "0.5"], more].concat())
    };
    to(&closed.to_string(), &[]).fails(3, &["cannot reach", "nothing listens"]);
    to(&parrot(b"").to_string(), &[]).fails(3, &["does not answer within 0.5 s"]);
    to(&parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n").to_string(), &[]).fails(3, &["no Skerry hub"]);
}
