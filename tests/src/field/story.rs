//! The story: stamp two images, boot both, let one in by its manifest and one by hand, give each its configuration and see the other's refused, read logs
//! through the hub, lose the hub and find it again, remove one.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::desk::{Desk, Ran};
use super::site::{Site, serial};
use crate::config::Config;
use crate::harness::Patience;
use crate::images::{TestImage, imager};
use crate::lab::Lab;
use crate::places;
use crate::simulator::{HubProgram, ProgramOptions};
use crate::story::step;

/// The device that is known by its manifest, and the one that shows a join token.
const KNOWN: &str = "shop-a";
const STRANGER: &str = "shop-b";
/// How guests reach this host.
const HOST: &str = "10.0.2.2";

/// What there is at the end.
#[derive(Debug)]
pub struct Told<'a> {
    /// The operator's desk.
    pub desk: Desk,
    /// The device that stays.
    pub staying: Site<'a>,
    /// The one that was removed.
    pub removed: Site<'a>,
    /// The hub, still running.
    pub hub: HubProgram,
    /// The hub's folder.
    pub folder: tempfile::TempDir,
}

/// Tells it, step by step; `greet` is called once with the hub's address and its admin token.
///
/// # Panics
/// When a step fails.
pub fn tell<'a>(lab: &'a Lab, greet: impl FnOnce(&str, &str)) -> Told<'a> {
    let folder = step("a folder for the hub", || Ok(tempfile::tempdir_in(places::target())?));
    let (hub, desk) = step("the hub starts in an empty folder, and the operator signs in with what it prints", || {
        let hub = HubProgram::start(ProgramOptions::new(folder.path()))?;
        let desk = Desk::with(lab.fleet()?.folder())?;
        sign_in(&hub, &desk)?;
        Ok((hub, desk))
    });
    greet(&format!("https://{}", hub.options.listen), hub.admin.as_deref().unwrap_or_default());
    step("two images are stamped; one device's manifest is imported, the other gets a join token", || stamp(lab, &desk, &hub));
    let image = |name: &str| desk.path(&format!("out/{name}.img"));
    let mut known = step("the first is powered on", || Site::open(lab, KNOWN, 0xa1, &image(KNOWN)));
    let mut stranger = step("and the second", || Site::open(lab, STRANGER, 0xb2, &image(STRANGER)));
    step("the first is let in because it is the one of its manifest", || {
        is_in_state(&desk, "admitted", &known)?;
        known.says_of_hub("connected", 20)
    });
    step("the second waits, and says so on its console", || {
        is_in_state(&desk, "pending", &stranger)?;
        stranger.says_of_hub("waiting", 20)
    });
    step("it is approved by hand", || {
        desk.done(&["hub", "approve", &serial(STRANGER)])?;
        is_in_state(&desk, "admitted", &stranger)?;
        stranger.says_of_hub("connected", 30)
    });
    step("each takes the configuration signed for it", || {
        push(lab, &desk, KNOWN)?;
        push(lab, &desk, STRANGER)?;
        takes(&desk, KNOWN)?;
        takes(&desk, STRANGER)
    });
    step("each refuses the other's, which the operator sends by mistake", || {
        refuses(&desk, &known, STRANGER)?;
        refuses(&desk, &stranger, KNOWN)
    });
    step("the operator reads the logs of each through the hub", || {
        reads_logs(&desk, &known)?;
        reads_logs(&desk, &stranger)
    });
    let hub = step("the hub is killed, both say that it is gone; it is started again, both come back", || {
        let options = hub.kill()?;
        known.says_of_hub("no session", 20)?;
        stranger.says_of_hub("no session", 20)?;
        let hub = HubProgram::start(options)?;
        is_reached(&desk, &known)?;
        is_reached(&desk, &stranger)?;
        Ok(hub)
    });
    step("the second is removed: it is told so, and reached no more; the first stays", || {
        desk.done(&["hub", "remove", &serial(STRANGER), "--yes", "--reason", "stolen"])?;
        stranger.says_of_hub("removed", 20)?;
        let ran = desk.run(&["--via", "hub", "--device", stranger.id.as_str(), "status"])?;
        ensure!(ran.code == 8, "a removed device is still reached ({}): {}{}", ran.code, ran.out, ran.err);
        is_reached(&desk, &known)
    });
    Told { desk, staying: known, removed: stranger, hub, folder }
}

fn sign_in(hub: &HubProgram, desk: &Desk) -> Result<()> {
    desk.put("token", hub.admin.as_deref().context("the first start prints an admin token")?.as_bytes())?;
    let url = format!("https://{}", hub.options.listen);
    desk.done(&["hub", "login", &url, "--pin", &hex::encode(hub.pin), "--token-file", "token"])?;
    desk.done(&["hub", "fleet", "add", "fleet"])?;
    desk.done(&["hub", "rule", "add", "stamped", "--expected"]).map(drop)
}

/// What a technician and the operator do together before anything is shipped.
fn stamp(lab: &Lab, desk: &Desk, hub: &HubProgram) -> Result<()> {
    let token = desk.json(&["hub", "token", "create", "--serial", &serial(STRANGER), "--label", "shop=b"])?;
    let token = token["text"].as_str().context("a token is shown once")?;
    let (url, pin) = (format!("https://{HOST}:{}", hub.options.listen.port()), hex::encode(hub.pin));
    let row =
        |name: &str, identity: &str, token: &str| format!("{name},{},qemu-x86_64,{identity},{url},{pin},{token}\n", serial(name));
    let rows = row(KNOWN, "auto", "") + &row(STRANGER, "", token);
    desk.put("devices.csv", format!("name,serial,board,identity,hub,hub_pin,join_token\n{rows}").as_bytes())?;
    fs::create_dir(desk.path("out"))?;
    let text = |name: &str| desk.path(name).display().to_string();
    make(&["station-key", &text("station")])?;
    let base = lab.image(TestImage::Blank).display().to_string();
    make(&["stamp", &base, "--inventory", &text("devices.csv"), "--out", &text("out"), "--station-key", &text("station")])?;
    desk.done(&["hub", "station", "add", "warehouse", "station.pub"])?;
    desk.done(&["hub", "manifest", "import", &format!("out/{KNOWN}.manifest.json")]).map(drop)
}

fn make(arguments: &[&str]) -> Result<()> {
    let output = Command::new(imager()).args(arguments).output().context("cannot run imager")?;
    ensure!(output.status.success(), "imager {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn is_in_state(desk: &Desk, state: &str, site: &Site<'_>) -> Result<()> {
    let patience = Patience::new(format!("{} in the state {state}", site.name), 30);
    desk.until(&patience, &["hub", "devices", "--state", state, "-o", "json"], |ran| ran.out.contains(site.id.as_str())).map(drop)
}

fn file(name: &str) -> String {
    format!("{name}.yaml")
}

fn push(lab: &Lab, desk: &Desk, name: &str) -> Result<()> {
    let fleet = lab.fleet()?;
    let target = format!("serial: {}", serial(name));
    let config = fleet.sign(&Config { name: name.into(), target, k3s: None, ..fleet.config()? })?;
    desk.put(&file(name), &config)?;
    desk.done(&["hub", "config", "push", &file(name), "--device", &serial(name)]).map(drop)
}

fn takes(desk: &Desk, name: &str) -> Result<()> {
    let patience = Patience::new(format!("the configuration of {name} in force"), 20);
    let arguments = ["hub", "rollout", "status", &file(name), "-o", "json"];
    let state = |ran: &Ran| {
        let answer = serde_json::from_str::<Value>(&ran.out).unwrap_or_default();
        answer["deliveries"]["items"][0]["state"].as_str().map(str::to_owned)
    };
    desk.until(&patience, &arguments, |ran| state(ran).as_deref() == Some("running")).map(drop)
}

fn refuses(desk: &Desk, site: &Site<'_>, other: &str) -> Result<()> {
    let ran = desk.run(&["--via", "hub", "--device", site.id.as_str(), "apply", "--file", &file(other)])?;
    ensure!(
        ran.code == 4 && ran.err.contains(&serial(other)),
        "{} does not refuse ({}): {}{}",
        site.name,
        ran.code,
        ran.out,
        ran.err
    );
    Ok(())
}

fn reads_logs(desk: &Desk, site: &Site<'_>) -> Result<()> {
    let patience = Patience::new(format!("logs of containerd on {}", site.name), 20);
    let arguments = ["--via", "hub", "--device", site.id.as_str(), "logs", "containerd"];
    desk.until(&patience, &arguments, |ran| ran.code == 0 && ran.out.contains("containerd")).map(drop)
}

fn is_reached(desk: &Desk, site: &Site<'_>) -> Result<()> {
    let patience = Patience::new(format!("{} through the hub", site.name), 30);
    let arguments = ["--via", "hub", "--device", site.id.as_str(), "version"];
    desk.until(&patience, &arguments, |ran| ran.code == 0).map(drop)
}
