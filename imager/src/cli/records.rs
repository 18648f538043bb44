//! `imager records`: judges a log of flashed drives and shows it, as a table, as CSV or as JSON. Shows nothing of a log that it does not believe.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use machine_config::PublicKey;
use serde_json::json;

use super::fleet::bytes;
use super::stamp::public_key;
use super::ui::Ui;
use super::{say, say_json};
use crate::flash::record::chain::{self, Line, Log};
use crate::flash::record::{Entry, Verdict};
use crate::image::digest::Digest;
use crate::label::content::printable;
use crate::progress::{Event, Progress};

/// Said where no key was named.
pub(super) const UNCHECKED: &str = "whose signatures they are was not checked: name the station's public key with --station-key";
/// Columns of the table and of CSV.
const COLUMNS: [&str; 16] = [
    "line",
    "ended",
    "seconds",
    "device",
    "serial",
    "result",
    "reason",
    "text",
    "path",
    "port",
    "drive_model",
    "drive_serial",
    "drive_bytes",
    "written_bytes",
    "image_sha256",
    "readback_sha256",
];
/// Of those, what a table has room for.
const TABLE: [&str; 8] = ["line", "ended", "seconds", "device", "result", "reason", "path", "drive_serial"];

/// Options of `records`.
#[derive(Debug, Args)]
pub(super) struct RecordsArgs {
    /// The log that `imager flash --record` wrote.
    log: PathBuf,
    /// The station's public key, or the file with it [default: believe the keys in the log].
    #[arg(long, value_name = "PUB")]
    station_key: Option<String>,
    /// SHA-256 of a line, as it was once told: the log must still hold it. Lines missing from the end leave no other trace.
    #[arg(long, value_name = "SHA256")]
    holds: Option<Digest>,
    /// Print CSV.
    #[arg(long)]
    csv: bool,
}

/// Judges and shows a log.
pub(super) fn run(json: bool, args: &RecordsArgs, ui: &Ui) -> Result<()> {
    let station = args.station_key.as_deref().map(public_key).transpose()?;
    let log = read_log(&args.log, station.as_ref())?;
    if let Some(sha256) = args.holds.filter(|sha256| !log.holds(sha256)) {
        bail!("cannot trust {}: the line with SHA-256 {sha256} is gone; lines were taken from its end", args.log.display());
    }
    if station.is_none() {
        ui.event(Event::Warn { message: UNCHECKED });
    }
    show(json, args, &log)?;
    match torn(&args.log, &log) {
        Some(torn) => bail!(torn),
        None => Ok(()),
    }
}

/// A log that is believed.
pub(super) fn read_log(path: &Path, station: Option<&PublicKey>) -> Result<Log> {
    chain::read(&bytes(path)?, station).with_context(|| format!("cannot use {}", path.display()))
}

/// What is to be said of a line that was never finished.
pub(super) fn torn(path: &Path, log: &Log) -> Option<String> {
    let after = log.lines.len();
    (log.torn_bytes > 0).then(|| {
        format!(
            "line {} of {} was never finished ({} bytes): the power failed, or it was cut off; the next `imager flash --record` puts it aside",
            after + 1,
            path.display(),
            log.torn_bytes
        )
    })
}

fn show(json: bool, args: &RecordsArgs, log: &Log) -> Result<()> {
    if json {
        let line = |line: &Line| json!({ "sha256": line.sha256, "record": line.record });
        return say_json(&log.lines.iter().map(line).collect::<Vec<_>>());
    }
    let rows = log.lines.iter().map(row);
    if args.csv {
        say(&csv_of(rows)?);
        return Ok(());
    }
    let good = log.records().filter(|record| record.flash.result == Verdict::Ok).count();
    let head = log.lines.last().map_or_else(String::new, |line| format!("last line {}\n", line.sha256));
    say(&format!("{}{} drives, {} good\n{head}", table(rows), log.lines.len(), good));
    Ok(())
}

fn row(line: &Line) -> [String; COLUMNS.len()] {
    let Entry { ended, milliseconds, path, drive, device, image_sha256, readback_sha256, bytes_written, result, .. } =
        &line.record.flash;
    let (result, reason, text) = match result {
        Verdict::Ok => ("ok", "", ""),
        Verdict::Failed(failure) => ("failed", failure.reason.code(), failure.text.as_str()),
    };
    let maybe = |text: &Option<String>| text.as_deref().map(printable).unwrap_or_default();
    let digest = |digest: &Option<Digest>| digest.map(|digest| digest.hex()).unwrap_or_default();
    let device = device.as_ref();
    [
        line.record.line.to_string(),
        ended.to_string(),
        format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000),
        device.map(|device| device.name.to_string()).unwrap_or_default(),
        device.map(|device| maybe(&device.serial)).unwrap_or_default(),
        result.to_owned(),
        reason.to_owned(),
        printable(text),
        printable(path),
        maybe(&drive.port),
        maybe(&drive.model),
        maybe(&drive.serial),
        drive.bytes.to_string(),
        bytes_written.to_string(),
        digest(image_sha256),
        digest(readback_sha256),
    ]
}

fn csv_of(mut rows: impl Iterator<Item = [String; COLUMNS.len()]>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    rows.try_for_each(|row| writer.write_record(&row))?;
    Ok(String::from_utf8(writer.into_inner()?).expect("texts in, text out"))
}

fn table(rows: impl Iterator<Item = [String; COLUMNS.len()]>) -> String {
    let shown = |row: [String; COLUMNS.len()]| {
        COLUMNS.into_iter().zip(row).filter(|(column, _)| TABLE.contains(column)).map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(TABLE).add_rows(rows.map(shown));
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::record::testing::log;

    fn rows() -> Vec<[String; COLUMNS.len()]> {
        let log = chain::read(log(3).concat().as_bytes(), None).expect("sound");
        log.lines.iter().map(row).collect()
    }

    #[test]
    fn a_table_shows_what_a_terminal_can() {
        let text = table(rows().into_iter());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], TABLE);
        assert_eq!(lines[1], ["1", "2026-09-21T14:14:25.555Z", "65.432", "box-0", "ok", "/dev/sd0", "S\\u{1b}[0"]);
        assert_eq!(lines[3][4..6], ["failed", "bad-block"]);
        assert!(!text.contains('\u{1b}'), "a drive's serial number commands no terminal");
    }

    #[test]
    fn csv_has_every_column() {
        let text = csv_of(rows().into_iter()).expect("written");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().expect("a header"), COLUMNS.as_slice());
        let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("read");
        assert_eq!((records.len(), &records[2][7]), (3, "cannot write at 4096: \"I/O error\""));
    }
}
