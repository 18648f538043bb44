//! `imager stamp`, `imager verify`, `imager station-key`: gathers what the options name, hands it to [`crate::stamp`], tells what came of it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use machine_config::seed::Seed;
use machine_config::{FleetTrust, MachineConfig, PublicKey, SigningKey, Verified};
use serde_json::json;

use super::args::{StampArgs, StationKeyArgs, VerifyArgs};
use super::fleet;
use super::ui::Ui;
use crate::draft::folder_of;
use crate::progress::{Event, Progress, step};
use crate::stamp::base::Base;
use crate::stamp::inventory::{self, Row};
use crate::stamp::plan::{Facts, plan};
use crate::stamp::station;
use crate::stamp::verify::{Proof, verify};
use crate::stamp::write::{Existing, Run, Stamped};

/// Stamps one image per row of the inventory.
pub(super) fn run_stamp(json: bool, args: &StampArgs, ui: &Ui) -> Result<()> {
    let rows = read_inventory(&args.inventory)?;
    if args.stdout {
        check_stream(json, rows.len())?;
    }
    if !args.out.is_dir() {
        bail!("cannot write to {}: there is no such folder; make it first", args.out.display());
    }
    let station = load_station(args)?;
    let base = step(ui, "check the base", || Base::open(&args.base))?;
    let fleet = choose_fleet(args, &base, ui)?;
    let configs = read_configs(&rows, folder_of(&args.inventory), &fleet)?;
    let facts = Facts { board: &base.release.board, fleet: &fleet, configs: &configs };
    let stamps = plan(&rows, &facts, getrandom::fill)?;
    let existing = if args.replace { Existing::Replace } else { Existing::Keep };
    let run = step(ui, "hash", || Run::prepare(&base, &stamps, &args.out, existing, &station))?;
    if args.stdout {
        run.stream(&mut std::io::stdout().lock())?;
        return Ok(());
    }
    let stamped = run.write(ui)?;
    ui.done(&stamped, &summary(&stamped, &args.out));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_inventory(path: &Path) -> Result<Vec<Row>> {
    inventory::parse(&read(path)?).with_context(|| format!("cannot use {}", path.display()))
}

fn check_stream(json: bool, rows: usize) -> Result<()> {
    if json {
        bail!("cannot use --stdout with --json: both write to standard output; leave one out");
    }
    if rows != 1 {
        bail!("cannot use --stdout: the inventory lists {rows} devices, one image goes out; leave one device in it");
    }
    if std::io::stdout().is_terminal() {
        bail!("cannot use --stdout: standard output is a terminal; pipe it to what takes the image");
    }
    Ok(())
}

fn load_station(args: &StampArgs) -> Result<SigningKey> {
    match &args.station_key {
        Some(path) => Ok(station::load(path)?),
        None => bail!(
            "cannot sign manifests: no station key is named; make one with `imager station-key FILE`, name it with --station-key or SKERRY_STATION_KEY"
        ),
    }
}

/// The fleet that the devices obey, and a warning of what the base's SEED holds that no stamp takes over.
fn choose_fleet(args: &StampArgs, base: &Base, ui: &Ui) -> Result<FleetTrust> {
    let left: Vec<&str> = base.seed.iter().flat_map(left_out).collect();
    if !left.is_empty() {
        let message =
            format!("the base's own {} goes into no stamped image; what a device gets stands in its row", left.join(" and "));
        ui.event(Event::Warn { message: &message });
    }
    match (&args.fleet, &base.seed) {
        (Some(folder), _) => fleet::read(folder),
        (None, Some(seed)) => Ok(seed.fleet.clone()),
        (None, None) => bail!(
            "cannot stamp {}: it belongs to no fleet; name one with --fleet, or build the base with --fleet",
            args.base.display()
        ),
    }
}

fn left_out(seed: &Seed) -> Vec<&'static str> {
    let parts =
        [("hub", seed.hub.is_some()), ("join token", seed.join_token.is_some()), ("configuration", seed.config.is_some())];
    parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// Each configuration that rows name, read once; paths are relative to the inventory's folder.
fn read_configs(rows: &[Row], folder: &Path, fleet: &FleetTrust) -> Result<BTreeMap<PathBuf, Verified<MachineConfig>>> {
    let mut configs = BTreeMap::new();
    for row in rows {
        let Some(path) = &row.config else { continue };
        if !configs.contains_key(path) {
            let judged = fleet::judged(&folder.join(path), fleet);
            let config = judged.with_context(|| format!("cannot stamp {} (line {})", row.name, row.line))?;
            configs.insert(path.clone(), config);
        }
    }
    Ok(configs)
}

fn summary(stamped: &[Stamped], folder: &Path) -> String {
    let tokens = stamped.iter().filter(|one| one.token.is_some()).count();
    let images: String = stamped.iter().map(|one| format!("{}  {}\n", one.image_sha256, one.name)).collect();
    let tokens = match tokens {
        0 => String::new(),
        count => format!("{count} join tokens were made: NAME.token, readable by you only\n"),
    };
    format!("{images}{} images in {}, each with NAME.manifest.json\n{tokens}", stamped.len(), folder.display())
}

/// Proves a stamped image.
pub(super) fn run_verify(args: &VerifyArgs, ui: &Ui) -> Result<()> {
    let manifest = read(&args.manifest)?;
    let station = args.station_key.as_deref().map(public_key).transpose()?;
    let proof = step(ui, "verify", || verify(&args.image, &manifest, station.as_ref(), args.base.as_deref()))?;
    if !proof.station_known {
        ui.event(Event::Warn {
            message: "whose signature it is was not checked: name the station's public key with --station-key",
        });
    }
    ui.done(&proof, &proved(&proof));
    Ok(())
}

/// A public key, or the file that holds it.
fn public_key(text: &str) -> Result<PublicKey> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) => Ok(station::load_public(Path::new(text))?),
    }
}

fn proved(proof: &Proof) -> String {
    let manifest = &proof.manifest;
    let mut lines = vec![
        ("device", manifest.device.name.to_string()),
        ("board", format!("{}, Skerry {}", manifest.base.board, manifest.base.version)),
        ("fleet", manifest.seed.fleet.to_string()),
        ("base", format!("{}{}", manifest.base.sha256, if proof.base_compared { ", compared" } else { "" })),
        ("station", format!("{}{}", manifest.station.id(), if proof.station_known { "" } else { ", not checked" })),
    ];
    lines.extend(manifest.device.serial.iter().map(|serial| ("serial", serial.clone())));
    lines.extend(manifest.device.mac.iter().map(|mac| ("mac", mac.to_string())));
    lines.extend(manifest.device.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    let text: String = lines.iter().map(|(name, value)| format!("  {name:<9}{value}\n")).collect();
    format!("{} is what its manifest says\n{text}", proof.image.display())
}

/// Makes a station's key.
pub(super) fn run_station_key(args: &StationKeyArgs, ui: &Ui) -> Result<()> {
    let (key, public) = station::make(&args.file)?;
    let report = json!({ "key": args.file, "public": public, "publicKey": key, "id": key.id() });
    let text = format!(
        "{} signs manifests: keep it here\n{} proves them: give it to whoever verifies\n  station {}\n",
        args.file.display(),
        public.display(),
        key.id()
    );
    ui.done(&report, &text);
    Ok(())
}

#[cfg(test)]
mod tests;
