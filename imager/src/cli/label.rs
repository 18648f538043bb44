//! `imager label`: gathers devices from a log or from manifests, hands them to [`crate::label`], writes the files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Args, ValueEnum};
use machine_config::PublicKey;
use serde_json::json;

use super::fleet::bytes;
use super::folder;
use super::records;
use super::stamp::public_key;
use super::ui::Ui;
use crate::flash::record::Device;
use crate::image::output::{Output, Place};
use crate::label::content::Label;
use crate::label::page::Page;
use crate::label::select::{self, Choice};
use crate::label::size::{Grid, Size};
use crate::label::{layout, pdf, svg};
use crate::progress::{Event, Progress};
use crate::stamp::manifest::Manifest;

/// Options of `label`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["record", "manifest"])))]
#[command(group(ArgGroup::new("choice").conflicts_with("manifest").args(["device", "all", "last"])))]
pub(super) struct LabelArgs {
    /// The log that `imager flash --record` wrote; only devices whose drive was proved get a label.
    #[arg(long, value_name = "LOG", requires = "choice")]
    record: Option<PathBuf>,
    /// A manifest that `imager stamp` wrote; may be repeated.
    #[arg(long, value_name = "FILE")]
    manifest: Vec<PathBuf>,
    /// A device of the log; may be repeated.
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Every device of the log.
    #[arg(long)]
    all: bool,
    /// The devices of the log that were flashed last.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// The station's public key, or the file with it [default: believe the keys in the log or the manifests].
    #[arg(long, value_name = "PUB")]
    station_key: Option<String>,
    /// Folder for NAME.label.svg or NAME.label.pdf; with --sheet, labels-1.svg and so on, or labels.pdf. Made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Size of a label in whole millimetres.
    #[arg(long, value_name = "WxHmm", default_value = "62x29mm")]
    size: Size,
    /// Print on sheets of A4 with so many labels without gaps instead, such as 3x8.
    #[arg(long, value_name = "COLSxROWS", conflicts_with = "size")]
    sheet: Option<Grid>,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One file per label or sheet.
    Svg,
    /// One file per label, or one with all sheets.
    Pdf,
}

impl Format {
    fn suffix(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pdf => "pdf",
        }
    }
}

/// Writes labels.
pub(super) fn run(args: &LabelArgs, ui: &Ui) -> Result<()> {
    folder::check(&args.out)?;
    let station = args.station_key.as_deref().map(public_key).transpose()?;
    if station.is_none() {
        ui.event(Event::Warn { message: records::UNCHECKED });
    }
    let devices = devices(args, station.as_ref(), ui)?;
    let labels: Vec<Label> = devices.iter().map(Label::from).collect();
    let files = match args.sheet {
        Some(grid) => sheet_files(&layout::sheets(&labels, grid)?, args.format),
        None => label_files(&labels, &layout::singles(&labels, args.size)?, args.format),
    };
    folder::make(&args.out, ui)?;
    let paths = files.iter().map(|(name, bytes)| write(&args.out.join(name), bytes)).collect::<Result<Vec<_>>>()?;
    let names: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let report = json!({ "labels": labels.iter().map(|label| json!({ "name": label.name, "claim": label.claim })).collect::<Vec<_>>(), "files": paths });
    ui.done(&report, &format!("{names}labels: {}\n", labels.len()));
    Ok(())
}

fn devices(args: &LabelArgs, station: Option<&PublicKey>, ui: &Ui) -> Result<Vec<Device>> {
    let Some(path) = &args.record else { return from_manifests(&args.manifest, station) };
    let log = records::read_log(path, station)?;
    if let Some(torn) = records::torn(path, &log) {
        ui.event(Event::Warn { message: &torn });
    }
    let choice = match args.last {
        Some(count) => Choice::Last(usize::try_from(count).expect("at least 32 bits")),
        None if args.all => Choice::All,
        None => Choice::Named(args.device.clone()),
    };
    Ok(select::devices(&log, &choice)?)
}

fn from_manifests(paths: &[PathBuf], station: Option<&PublicKey>) -> Result<Vec<Device>> {
    let device = |path: &PathBuf| {
        let manifest = Manifest::read(&bytes(path)?, station).with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Device::from(&manifest))
    };
    paths.iter().map(device).collect()
}

fn sheet_files(pages: &[Page], format: Format) -> Vec<(String, Vec<u8>)> {
    match format {
        Format::Svg => (1..).zip(pages).map(|(n, page)| (format!("labels-{n}.svg"), svg::render(page).into_bytes())).collect(),
        Format::Pdf => vec![("labels.pdf".to_owned(), pdf::render(pages))],
    }
}

fn label_files(labels: &[Label], pages: &[Page], format: Format) -> Vec<(String, Vec<u8>)> {
    let file = |(label, page): (&Label, &Page)| {
        let bytes = match format {
            Format::Svg => svg::render(page).into_bytes(),
            Format::Pdf => pdf::render(std::slice::from_ref(page)),
        };
        (format!("{}.label.{}", label.name, format.suffix()), bytes)
    };
    labels.iter().zip(pages).map(file).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let output = Output::create(&Place::new(path)?)?;
    output.write_at(0, bytes)?;
    output.set_len(bytes.len() as u64)?;
    output.publish()?;
    Ok(path.to_owned())
}
