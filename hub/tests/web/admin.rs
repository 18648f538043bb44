//! What admins and operators say in pages: rules, whose signatures count, who is expected, which device takes another's place, and who may do what.

use hub::model::{Actor, DeviceState, Policy, RuleKind, Strangers, Time};
use hub::people::Role;
use hub::store::Edit;
use imager::stamp::manifest::{BaseEntry, DeviceEntry, DeviceFacts, ImageEntry, Manifest, SeedEntry, TokenOrigin};
use machine_config::{FleetTrust, PublicKey};
use serde_json::Value;

use crate::driver::{Browser, DESKTOP, PHONE};
use crate::fleet::{Fleet, HOSTILE, id, key, kim};
use crate::token;

fn choose(browser: &Browser, css: &str, value: &str) {
    browser.eval(&format!("document.querySelector(\"{css}\").value = '{value}'"));
    assert_eq!(browser.eval(&format!("return document.querySelector(\"{css}\").value")), value, "{css} has {value}");
}

fn forms(browser: &Browser) -> u64 {
    browser.eval("return document.querySelectorAll('main form').length").as_u64().expect("a number")
}

fn public_key(number: u32) -> PublicKey {
    PublicKey::try_from(key(number).verifying_key()).expect("a strong key")
}

/// What the station with this key signed for a device of this name.
fn manifest(station: u32, name: &str, serial: &str) -> String {
    let digest = imager::image::digest::Digest::of(b"x");
    let facts = DeviceFacts {
        device: DeviceEntry {
            name: name.parse().expect("a name"),
            serial: Some(serial.into()),
            mac: None,
            labels: Default::default(),
        },
        identity: None,
        seed: SeedEntry {
            sha256: digest,
            fleet: "acme".parse().expect("a name"),
            hub: None,
            join_token: TokenOrigin::None,
            join_token_sha256: None,
            config_sha256: None,
        },
    };
    let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest, blank_sha256: digest };
    Manifest::new(base, facts, ImageEntry { bytes: 1, sha256: digest }, &key(station)).sign(&key(station))
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_made_and_deleted_and_strangers_dealt_with() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, PHONE) else { return };
    browser.go("/rules");
    browser.sign_in(&fleet.token);
    browser.fill("form[action='/rules'] [name=name]", "batch");
    choose(&browser, "[name=kind]", "serials");
    browser.fill("[name=serials]", "FZ900\nFZ901");
    browser.fill("[name=groups]", "shops");
    browser.click("form[action='/rules'] button");
    browser.wait_for("Made. Devices that wait are looked at");
    browser.wait_for("2 serial numbers");
    browser.picture("rule-made");
    let rules = fleet.store().rules().await.expect("read");
    let rule = rules.iter().find(|rule| rule.name == "batch").expect("made");
    assert_eq!(rule.kind, RuleKind::Serials(vec!["FZ900".into(), "FZ901".into()]));
    assert_eq!((rule.without_token, rule.groups.as_slice()), (false, ["shops".to_owned()].as_slice()));
    browser.click("form[action='/rules/batch/delete'] button");
    browser.wait_for("Deleted. Devices that it dealt with stay");
    assert!(fleet.store().rules().await.expect("read").iter().all(|rule| rule.name != "batch"));
    choose(&browser, "[name=strangers]", "refuse");
    browser.click("form[action='/rules/policy'] button");
    browser.wait_for("Changed.");
    let policy = Policy { strangers: Strangers::Refuse, ..Policy::default() };
    assert_eq!(fleet.store().policy().await.expect("read"), policy);
    browser.fill("form[action='/rules'] [name=name]", "two words");
    browser.click("form[action='/rules'] button");
    browser.wait_for("cannot use `two words`");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_signatures_count_is_said_and_what_they_signed_is_imported() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    let file = |name: &str, text: &str| {
        let path = fleet.folder().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let signed = file("till-9.manifest.json", &manifest(77, "till-9", "FZ909"));
    browser.go("/expected");
    browser.sign_in(&fleet.token);
    browser.fill("[type=file]", &signed);
    browser.click("section.card button.main");
    browser.wait_for("This does not go");

    browser.go("/trust");
    browser.fill("[name=name]", HOSTILE);
    browser.fill("[name=key]", &public_key(77).to_string());
    browser.click("form[action='/trust/stations'] button");
    browser.wait_for("Registered. Import its manifests");
    let trust = FleetTrust { name: "rival".parse().expect("a name"), keys: vec![public_key(78)] };
    browser.fill("[type=file]", &file("fleet.pub", &trust.to_json()));
    browser.click("form[action='/trust/fleets'] button");
    browser.wait_for("Registered. Configurations signed with these keys");
    browser.picture("trust-given");
    assert_eq!(browser.eval("return window.taken"), Value::Null);
    browser.click("form[action='/trust/fleets/rival/delete'] button");
    browser.wait_for("Nothing of this fleet is taken");
    assert_eq!(fleet.store().fleets().await.expect("read").len(), 1);

    browser.go("/expected");
    browser.fill("[type=file]", &signed);
    browser.click("section.card button.main");
    browser.wait_for("Imported: 1 new, 0 known already.");
    browser.wait_for("serial FZ909");
    browser.picture("expected-imported");
    browser.click("form[action='/expected/forget'] button");
    browser.wait_for("Forgotten.");
    assert_eq!(fleet.store().expected(0, 10).await.expect("read").total, 0);
    browser.go("/trust");
    browser.click("form[action^='/trust/stations/'] button.bad");
    browser.wait_for("What it signed before stays.");
    assert!(fleet.store().stations().await.expect("read").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_takes_anothers_place_and_its_configuration_is_drafted_for_signing() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, PHONE) else { return };
    browser.go(&format!("/devices/{}", id(1)));
    browser.sign_in(&fleet.token);
    browser.click("a[href$='/replace']");
    browser.fill("[name=by]", "NEW102");
    browser.click("form.filters button");
    browser.wait_for("It takes the place");
    browser.wait_for("box-102");
    browser.picture("replace");
    let draft = browser.eval("return fetch(document.querySelector('a[download]').href).then(got => got.text())");
    let draft = draft.as_str().expect("a text");
    assert!(draft.contains("NEW102") && draft.contains("generation: 4"), "{draft}");
    browser.click("button.bad");
    let state = async |number| fleet.store().device(&id(number)).await.expect("read").expect("there").state;
    assert_eq!(state(1).await, DeviceState::Admitted, "not without the tick");
    browser.click("[name=sure]");
    browser.click("button.bad");
    browser.wait_for("It has the place now");
    assert_eq!((state(1).await, state(102).await), (DeviceState::Removed, DeviceState::Admitted));
    assert_eq!(fleet.store().device(&id(102)).await.expect("read").expect("there").name.as_deref(), Some("shop-0001"));
    browser.go(&format!("/devices/{}/replace?by=nobody", id(2)));
    browser.wait_for("no device has the name or serial number `nobody`");
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go(&format!("/devices/{}/replace?by=box-103", id(2)));
    browser.sign_in(&token(&fleet, Role::Operator).await);
    browser.wait_for("An admin can have the old one's configuration drafted");
    assert_eq!(browser.eval("return document.querySelector('a[download]')"), Value::Null, "it holds secrets");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_roles_and_installers_their_sites() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/people");
    browser.sign_in(&fleet.token);
    browser.fill("section.card form[action='/people/role'] [name=name]", "kim@id");
    choose(&browser, "section.card form[action='/people/role'] [name=role]", "installer");
    browser.click("section.card form[action='/people/role'] button");
    browser.wait_for("Said; their logins have ended");
    browser.wait_for("claims nothing yet");
    browser.picture("people-installer");
    browser.fill("form:has([value='user:kim@id']) textarea", "Store 1\nStore 2");
    browser.click("form:has([value='user:kim@id']) button");
    browser.wait_for("Given; it counts at once.");
    let sites = async || fleet.store().installer(&Actor::User("kim@id".into())).await.expect("read").sites;
    assert_eq!(sites().await, ["Store 1", "Store 2"]);
    choose(&browser, "form.inline [name=role]", "none");
    browser.click("form.inline button");
    browser.wait_for("no installer shown above");
    let user = fleet.store().user("kim@id").await.expect("read").expect("there");
    assert_eq!(user.role, None);
    browser.check_logs();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_stamped_devices_find_the_hub_is_said_in_a_page() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, PHONE) else { return };
    browser.go("/images");
    browser.sign_in(&fleet.token);
    browser.fill("[name=fallbacks]", "https://10.0.0.1:8443");
    browser.fill("[name=proxy]", "http://proxy.example:3128");
    browser.fill("[name=user]", "kim");
    browser.fill("[name=password]", "pa55word");
    browser.click("form[action='/images/phone-home'] button");
    browser.wait_for("Changed. Devices that are stamped from now on");
    browser.picture("phone-home");
    assert!(!browser.eval("return document.documentElement.outerHTML").to_string().contains("pa55word"));
    browser.fill("[name=fallbacks]", "\nhttps://10.0.0.2");
    browser.click("form[action='/images/phone-home'] button");
    browser.wait_for("Changed.");
    let set = fleet.store().phone_home().await.expect("read");
    assert_eq!(set.fallbacks, ["https://10.0.0.1:8443", "https://10.0.0.2"]);
    assert_eq!(set.proxy.and_then(|proxy| proxy.password).expect("it stays").expose(), "pa55word");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_meanwhile_stays() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go(&format!("/devices/{}", id(5)));
    browser.sign_in(&fleet.token);
    let edit = Edit {
        site: Some("Store 9".into()),
        groups: Some(vec!["moved".into()]),
        labels: Some([("shop".to_owned(), "1".to_owned())].into()),
        ..Edit::default()
    };
    fleet.store().edit_device(&id(5), edit, &kim(Time::now())).await.expect("edited");
    browser.fill("[name=labels]", "row=5");
    browser.click("form.grid button");
    browser.wait_for("Saved.");
    let device = fleet.store().device(&id(5)).await.expect("read").expect("there");
    assert_eq!((device.site.as_str(), device.groups.as_slice()), ("Store 9", ["moved".to_owned()].as_slice()));
    assert_eq!(device.labels, [("row".to_owned(), "5".to_owned()), ("shop".to_owned(), "1".to_owned())].into());
    browser.click("form.grid button");
    browser.wait_for("Nothing was changed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_look_at_these_pages_and_find_no_form() {
    let fleet = Fleet::made_up().await;
    let Some(browser) = Browser::start(&fleet.address, DESKTOP) else { return };
    browser.go("/rules");
    browser.sign_in(&token(&fleet, Role::Reader).await);
    for path in ["/rules", "/trust", "/expected", "/tokens", "/configs", "/images", "/pending"] {
        browser.go(path);
        let forms = if path == "/pending" { forms(&browser) - 1 } else { forms(&browser) };
        assert_eq!(forms, 0, "{path}");
    }
    browser.check_logs();
}
