//! The pages in a real browser, against a whole hub in this process: what they show, that nothing a device says becomes part of them, that they
//! can be used by keyboard, on a phone and without scripts, and that they load nothing of anybody else's. Pictures are kept in
//! `target/web-screenshots`.

#![allow(unreachable_pub, reason = "a test program")]

mod admin;
mod driver;
mod fleet;
#[path = "../rest/image.rs"]
mod image;
mod talking;

use driver::{Browser, DESKTOP, ENTER, Kind, NARROW, PHONE, SPACE, TAB};
use fleet::{Fleet, HOSTILE, config, id, key as key_of, kim};
use hub::model::{Actor, AuditFilter, DeviceState, Policy, Strangers, Time};
use hub::people::Role;
use hub::reader::Reader;
use hub::store::NewApiToken;
use machine_config::types::Digest;
use talking::{ClientCa, Device};

/// A token of this role.
async fn token(fleet: &Fleet, role: Role) -> String {
    let new = NewApiToken { name: format!("a-{role}"), role, scopes: Default::default(), expires_at: None };
    fleet.store().create_api_token(new, &Default::default(), &kim(Time::now())).await.expect("made").1.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_desk_and_a_phone_and_shows_hostile_texts_as_texts() {
    let fleet = Fleet::made_up().await;
    let digest = Digest::of(&config(3, "FZ2"));
    let pages = [
        ("overview", "/".to_owned()),
        ("devices", "/devices".into()),
        ("devices-found", "/devices?search=shop-00&state=admitted&site=&version=0.1.0".into()),
        ("device", format!("/devices/{}", id(1))),
        ("device-failing", format!("/devices/{}", id(7))),
        ("device-hostile", format!("/devices/{}", id(200))),
        ("pending", "/pending".into()),
        ("tokens", "/tokens".into()),
        ("configs", "/configs".into()),
        ("config", format!("/configs/{digest}")),
        ("expected", "/expected".into()),
        ("rules", "/rules".into()),
        ("trust", "/trust".into()),
        ("replace", format!("/devices/{}/replace?by=box-102", id(1))),
        ("images", "/images".into()),
        ("audit", "/audit".into()),
        ("people", "/people".into()),
        ("claim-find", "/claim".into()),
        ("claim", format!("/claim/id/{}", id(102))),
        ("claim-unknown", "/claim/serial/FZ%2F9".into()),
    ];
    for kind in [DESKTOP, PHONE, NARROW] {
        let Some(browser) = Browser::start(&fleet.address, kind) else { return };
        browser.go("/devices");
        assert_eq!(browser.place(), "/sign-in?next=%2Fdevices");
        browser.picture("sign-in");
        browser.sign_in(&fleet.token);
        assert_eq!(browser.place(), "/devices");
        for (name, path) in &pages {
            browser.go(path);
            assert_eq!(browser.eval("return window.taken"), serde_json::Value::Null, "{name} ran what a device said");
            assert_eq!(browser.eval("return document.querySelectorAll('main img, main script').length"), 0, "{name}");
            browser.picture(name);
            browser.check_logs();
        }
        browser.go(&format!("/devices/{}", id(200)));
        assert!(browser.text("body").contains(HOSTILE), "it is shown as it is");
        browser.go("/devices?state=nonsense");
        browser.wait_for("This does not go");
        for nowhere in ["/devices/nobody", "/nowhere"] {
            browser.go(nowhere);
            browser.wait_for("there is no such page at this hub");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_approved_and_refused_in_bulk_by_keyboard() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/pending");
    browser.sign_in(&token(&fleet, Role::Operator).await);
    assert_eq!(browser.text("[data-chosen]"), "0 chosen");
    browser.eval("document.querySelector('[value=\"device.approve\"]').focus()");
    assert_eq!(
        browser.eval("return document.activeElement.disabled ?? null"),
        serde_json::Value::Null,
        "nothing chosen, nothing to press"
    );
    browser.eval("document.querySelector('input[name=id]').focus()");
    browser.press(&SPACE.to_string());
    assert_eq!(browser.text("[data-chosen]"), "1 chosen");
    browser.press(&format!("{TAB}{TAB}{SPACE}"));
    assert_eq!(browser.text("[data-chosen]"), "2 chosen");
    let chosen = browser.eval("return [...document.querySelectorAll('input[name=id]:checked')].map(box => box.value)");
    browser.eval("document.querySelector('[value=\"device.approve\"]').focus()");
    browser.press(&ENTER.to_string());
    browser.wait_for("2 devices approved.");
    for id in chosen.as_array().expect("two ids") {
        let device =
            fleet.store().device(&id.as_str().expect("an id").parse().expect("an id")).await.expect("read").expect("there");
        assert_eq!((device.state, device.admitted_by.as_deref()), (DeviceState::Admitted, Some("token:a-operator")));
    }
    browser.click("[data-all]");
    browser.fill("[name=reason]", "not ours");
    browser.click("[value='device.refuse']");
    browser.wait_for("devices refused.");
    browser.wait_for("Nobody waits.");
    assert_eq!(fleet.store().overview(Time::now()).await.expect("read").pending, 0);
    let refused = AuditFilter { action: Some("device.refuse".into()), ..AuditFilter::default() };
    assert!(
        fleet
            .store()
            .audit(&refused)
            .await
            .expect("read")
            .iter()
            .any(|line| line.actor == "token:a-operator" && line.address == "127.0.0.1")
    );
    browser.go("/devices");
    browser.press("/shop-0007");
    browser.press(&ENTER.to_string());
    browser.wait_for("Devices 1");
    browser.press(&TAB.to_string());
    browser.check_logs();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_a_configuration_is_brought_assigned_and_taken_back() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/tokens");
    browser.sign_in(&fleet.token);
    browser.fill("section.card [name=name]", "Wednesday");
    browser.fill("[name=labels]", "row=2");
    browser.click("section.card button.main");
    browser.wait_for("It is shown this once.");
    let secret = browser.text("#secret");
    assert!(secret.starts_with("skj_") && secret.len() == 36, "{secret}");
    browser.picture("token-made");
    browser.go("/tokens");
    assert!(!browser.text("body").contains(&secret));
    let made = fleet.store().tokens().await.expect("read").into_iter().find(|token| token.name == "Wednesday").expect("made");
    assert_eq!(made.labels.get("row").map(String::as_str), Some("2"));

    browser.fill("section.card [name=name]", "forged");
    browser.eval("document.querySelectorAll('[name=csrf]').forEach(field => { field.value = 'guessed'; })");
    browser.click("section.card button.main");
    browser.wait_for("does not carry the login's word");
    assert!(fleet.store().tokens().await.expect("read").iter().all(|token| token.name != "forged"));

    let file = fleet.folder().join("signed.yaml");
    std::fs::write(&file, config(4, "FZ4")).expect("written");
    browser.go("/configs");
    browser.fill("[type=file]", &file.to_string_lossy());
    browser.click("section.card button.main");
    browser.wait_for("The hub has it.");
    browser.fill("[name=value]", "FZ4");
    browser.click("main form.grid button.main");
    browser.wait_for("Assigned.");
    let digest = Digest::of(&config(4, "FZ4"));
    assert_eq!(fleet.store().assignments(Some(&digest)).await.expect("read")[0].to.to_string(), format!("device:{}", id(4)));
    browser.click("main .rows button");
    browser.wait_for("Taken back.");
    std::fs::write(&file, "metadata: {}").expect("written");
    browser.go("/configs");
    browser.fill("[type=file]", &file.to_string_lossy());
    browser.click("section.card button.main");
    browser.wait_for("cannot take the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_stamped_and_downloaded() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/images");
    browser.sign_in(&fleet.token);
    browser.fill("section.card [name=name]", "store-0421");
    browser.click("section.card button.main");
    browser.wait_for("The image carries the join token");
    browser.picture("image-stamped");
    let bytes = browser
        .eval("return fetch(document.querySelector('.made a').href).then(got => got.arrayBuffer()).then(got => got.byteLength)");
    assert_eq!(bytes.as_u64(), Some(image::BYTES));
    let made = fleet.store().tokens().await.expect("read");
    assert!(made.iter().any(|token| token.uses_left == 1 && browser.text(".made code") == token.id));
    browser.check_logs();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_sees_the_claim_page_and_nothing_else() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, PHONE) else { return };
    browser.go(&format!("/claim/id/{}", id(101)));
    browser.sign_in(&token(&fleet, Role::Installer).await);
    browser.wait_for("No site was given to you");
    assert_eq!(browser.eval("return document.querySelector('#site')"), serde_json::Value::Null);
    let sites = ["Store 421".to_owned(), "Store 422".to_owned()];
    fleet.store().put_installer(&Actor::Token("a-installer".into()), &sites, &kim(Time::now())).await.expect("given");
    browser.go(&format!("/claim/id/{}", id(101)));
    assert_eq!(browser.place(), format!("/claim/id/{}", id(101)), "the code's page comes back after signing in");
    browser.eval("document.querySelector('#site').value = 'Store 421'");
    browser.picture("installer-claims");
    browser.click("button.main");
    browser.wait_for("Claimed, and the hub serves it.");
    browser.picture("installer-claimed");
    let device = fleet.store().device(&id(101)).await.expect("read").expect("there");
    assert_eq!((device.site.as_str(), device.state), ("Store 421", DeviceState::Admitted));
    assert_eq!(browser.text("nav"), "Claim");
    for path in [
        "/devices",
        "/pending",
        "/tokens",
        "/configs",
        "/expected",
        "/rules",
        "/trust",
        "/images",
        "/audit",
        "/people",
        "/counts",
    ] {
        browser.go(path);
        assert!(browser.text("body").contains("cannot do this as installer"), "{path}");
    }
    browser.go("/");
    assert_eq!(browser.place(), "/claim");
    browser.fill("#value", &format!("FZ1{ENTER}"));
    browser.wait_for("shop-0001");
    assert_eq!(browser.place(), "/claim/serial/FZ1");
    browser.wait_for("It is for a site that is none of yours.");
    assert_eq!(browser.eval("return document.querySelector('#site')"), serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_everything_but_following_a_log_works() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, Kind { scripts: false, ..DESKTOP }) else { return };
    browser.go("/pending");
    browser.sign_in(&fleet.token);
    browser.click("input[name=id]");
    browser.click("[value='device.approve']");
    browser.wait_for("1 device approved.");
    browser.go(&format!("/devices/{}", id(5)));
    browser.fill("[name=labels]", "row=5");
    browser.click("form.grid button");
    browser.wait_for("Saved.");
    browser.click("details.danger summary");
    browser.click("details.danger button");
    assert_eq!(
        fleet.store().device(&id(5)).await.expect("read").expect("there").state,
        DeviceState::Admitted,
        "not without the tick"
    );
    browser.click("[name=sure]");
    browser.click("details.danger button");
    browser.wait_for("1 device removed for good.");
    let device = fleet.store().device(&id(5)).await.expect("read").expect("there");
    assert_eq!((device.state, device.labels.get("row").map(String::as_str)), (DeviceState::Removed, Some("5")));
    browser.click(".who button");
    browser.wait_for("Sign in");
    browser.go("/devices");
    assert!(browser.place().starts_with("/sign-in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_as_a_reader_through_the_devices_own_call() {
    let (ca, folder) = (ClientCa::new(), tempfile::tempdir().expect("a folder"));
    let reader = ca.certify(folder.path(), "reader");
    let (certificate, key) = ca.certify(folder.path(), "admin");
    let error = Reader::open(&certificate, &key).expect_err("an admin's is too much");
    assert!(error.to_string().contains("its role is admin"), "{error}");
    let fleet = Fleet::with_reader(folder, Some(reader)).await;
    let policy = Policy { strangers: Strangers::Wait, ..Policy::default() };
    fleet.store().put_policy(&policy, &kim(Time::now())).await.expect("written");
    let device = Device::start(&fleet.hub, key_of(70), &ca);
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/pending");
    browser.sign_in(&token(&fleet, Role::Operator).await);
    browser.wait_for_page("/pending", "talking");
    browser.click("input[name=id]");
    browser.click("[value='device.approve']");
    browser.wait_for("1 device approved.");
    // The device asks again by itself; how soon is its own decision.
    fleet.connected(&device.id()).await;
    browser.go(&format!("/devices/{}", device.id()));
    browser.click("form[action$='/logs'] button");
    browser.wait_for("listening on 10.4.0.12");
    browser.wait_for("Following.");
    assert!(browser.text("pre").contains("<script>window.taken=1</script>"));
    assert_eq!(browser.eval("return window.taken"), serde_json::Value::Null);
    assert_eq!(*device.asked.lock().expect("not poisoned"), ["containerd"]);
    browser.picture("logs");
    browser.check_logs();
    browser.go("/audit?action=tunnel.");
    browser.wait_for("tunnel.open");
    browser.wait_for_page("/audit?action=tunnel.", "tunnel.close");
    assert!(browser.text("main table").contains("token:a-operator"));
}
