//! `imager stamp`, `imager verify`, `imager station-key`: gathers what the options name, hands it to [`crate::stamp`], tells what came of it.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use machine_config::PublicKey;
use serde_json::json;

use super::args::{StampArgs, StationKeyArgs, VerifyArgs};
use super::devices::{self, Devices};
use super::folder;
use super::ui::Ui;
use crate::draft::folder_of;
use crate::progress::{Event, Progress, step};
use crate::stamp::station;
use crate::stamp::verify::{Proof, verify};
use crate::stamp::write::{Existing, Run, Stamped};

/// Stamps one image per row of the inventory.
pub(super) fn run_stamp(json: bool, args: &StampArgs, ui: &Ui) -> Result<()> {
    let rows = devices::read_rows(&args.devices)?;
    if args.stdout {
        check_stream(json, rows.len())?;
    }
    folder::check(&args.out)?;
    let Devices { press, stamps, fleet: _ } = devices::load(&args.base, &args.devices, &rows, ui)?;
    folder::make(&args.out, ui)?;
    let existing = if args.replace { Existing::Replace } else { Existing::Keep };
    let run = step(ui, "hash", || Run::prepare(&press, &stamps, &args.out, existing))?;
    if args.stdout {
        run.stream(&mut std::io::stdout().lock())?;
        return Ok(());
    }
    let stamped = run.write(ui)?;
    ui.done(&stamped, &summary(&stamped, &args.out));
    Ok(())
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

fn summary(stamped: &[Stamped], folder: &Path) -> String {
    let lines: String = stamped.iter().map(|one| format!("{}  {}\n", one.image_sha256, one.name)).collect();
    let mut text = format!("{lines}{} images in {}, each with NAME.manifest.json\n", stamped.len(), folder.display());
    let (tokens, keys) = (count(stamped, |one| one.token.is_some()), count(stamped, |one| one.device_id.is_some()));
    if tokens > 0 {
        text += &format!("{tokens} join tokens were made: NAME.token, readable by you only\n");
    }
    if keys > 0 {
        text += &format!(
            "{keys} images hold their device's key: whoever reads one can be that device; delete them once they are written\n"
        );
    }
    text
}

fn count(stamped: &[Stamped], is_one: impl Fn(&Stamped) -> bool) -> usize {
    stamped.iter().filter(|one| is_one(one)).count()
}

/// Proves a stamped image.
pub(super) fn run_verify(args: &VerifyArgs, ui: &Ui) -> Result<()> {
    let manifest = std::fs::read(&args.manifest).with_context(|| format!("cannot read {}", args.manifest.display()))?;
    let station = args.station_key.as_deref().map(public_key).transpose()?;
    let proof = step(ui, "verify", || verify(&args.image, &manifest, station.as_ref(), args.base.as_deref()))?;
    if !proof.station_known {
        ui.event(Event::Warn {
            message: "whose signature it is was not checked: name the station's public key with --station-key",
        });
    }
    if proof.unread_bytes > 0 {
        let message = format!("{} bytes after the image's end were not looked at", proof.unread_bytes);
        ui.event(Event::Warn { message: &message });
    }
    if proof.free_bytes > 0 {
        let message = format!(
            "{} bytes that the image's own tables call free were not compared: `imager flash` leaves there what the drive had",
            proof.free_bytes
        );
        ui.event(Event::Warn { message: &message });
    }
    ui.done(&proof, &proved(&proof));
    Ok(())
}

/// A public key, or the file that holds it.
pub(super) fn public_key(text: &str) -> Result<PublicKey> {
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
    lines.extend(manifest.identity.iter().map(|identity| ("id", identity.device_id.to_string())));
    lines.extend(manifest.device.serial.iter().map(|serial| ("serial", serial.clone())));
    lines.extend(manifest.device.mac.iter().map(|mac| ("mac", mac.to_string())));
    lines.extend(manifest.device.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    let text: String = lines.iter().map(|(name, value)| format!("  {name:<9}{value}\n")).collect();
    format!("{} is what its manifest says\n{text}", proof.image.display())
}

/// Makes a station's key.
pub(super) fn run_station_key(args: &StationKeyArgs, ui: &Ui) -> Result<()> {
    folder::make_private(folder_of(&args.file), ui)?;
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
