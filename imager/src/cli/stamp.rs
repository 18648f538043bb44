//! `imager stamp`, `imager verify`, `imager station-key`: gathers what the options name, hands it to [`crate::stamp`], tells what came of it.

use std::io::{IsTerminal as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use machine_config::PublicKey;
use serde_json::json;

use super::Usage;
use super::args::{StampArgs, StationKeyArgs, VerifyArgs};
use super::devices::{self, Devices};
use super::folder;
use super::ui::Ui;
use crate::draft::folder_of;
use crate::progress::{Event, Progress, step};
use crate::stamp::inventory::{IdentityChoice, Row, Token};
use crate::stamp::station;
use crate::stamp::verify::{Proof, verify};
use crate::stamp::write::{Existing, Run, Stamped, pipe};

/// Stamps one image per row of the inventory.
pub(super) fn run_stamp(json: bool, args: &StampArgs, ui: &Ui) -> Result<()> {
    if !args.stdout {
        return stamp_into(args, ui);
    }
    if json {
        bail!("cannot use --stdout with --json: both write to standard output; leave one out");
    }
    if std::io::stdout().is_terminal() {
        bail!("cannot use --stdout: standard output is a terminal; pipe it to what takes the image");
    }
    stream(args, ui, &mut std::io::stdout().lock())
}

/// Writes images and what belongs to them into the folder.
fn stamp_into(args: &StampArgs, ui: &Ui) -> Result<()> {
    let Some(out) = &args.out else {
        return Err(Usage::new("cannot stamp: neither --out nor --stdout says where images go").into());
    };
    let rows = devices::read_rows(&args.devices)?;
    folder::check(out)?;
    let Devices { press, stamps, fleet: _ } = devices::load(&args.base, &args.devices, &rows, ui)?;
    folder::make(out, ui)?;
    let run = step(ui, "hash", || Run::prepare(&press, &stamps, out, existing(args)))?;
    let stamped = run.write(ui)?;
    ui.done(&stamped, &summary(&stamped, out));
    Ok(())
}

/// Writes the image of the only device to `into`; what belongs to it goes into the folder, when one is named.
fn stream(args: &StampArgs, ui: &Ui, into: &mut dyn Write) -> Result<()> {
    let rows = devices::read_rows(&args.devices)?;
    if rows.len() != 1 {
        bail!("cannot use --stdout: the inventory lists {} devices, one image goes out; leave one device in it", rows.len());
    }
    match &args.out {
        Some(out) => folder::check(out)?,
        None => rows.iter().try_for_each(check_nothing_is_lost)?,
    }
    let Devices { press, stamps, fleet: _ } = devices::load(&args.base, &args.devices, &rows, ui)?;
    match &args.out {
        Some(out) => {
            folder::make(out, ui)?;
            step(ui, "hash", || Run::prepare(&press, &stamps, out, existing(args)))?.stream(into)?;
        }
        None => {
            let message = "no manifest is kept, so nobody can prove the image later; --out names a folder for it";
            ui.event(Event::Warn { message });
            stamps.iter().try_for_each(|stamp| pipe(&press, stamp, into))?;
        }
    }
    Ok(())
}

fn existing(args: &StampArgs) -> Existing {
    if args.replace { Existing::Replace } else { Existing::Keep }
}

/// Without a folder, what is made for the device and stands nowhere but in a file beside its image would be gone.
fn check_nothing_is_lost(row: &Row) -> Result<()> {
    let name = &row.name;
    let hint = "name a folder for it with --out";
    if matches!(row.token, Token::Auto) {
        bail!("cannot use --stdout alone: the join token made for {name} would be in its image only; {hint}");
    }
    if matches!(row.identity, IdentityChoice::Auto) {
        bail!("cannot use --stdout alone: the id of the key made for {name} stands in its manifest; {hint}");
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
