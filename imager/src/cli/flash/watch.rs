//! The live table: a line per drive with state, speed and time left on a terminal, JSON events for programs, a line per finished drive otherwise. Appends
//! each drive's record the moment it is over, so that a power cut loses no drive that was done.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::record::Records;
use super::report;
use crate::cli::ui::line;
use crate::flash::engine::{Event, Watcher};
use crate::flash::outcome::Outcome;
use crate::flash::plan::Job;
use crate::flash::record::append::AppendError;
use crate::flash::status::Stage;
use crate::flash::stop::Hurry;
use crate::stamp::manifest::Manifest;

/// JSON events of one drive's progress come no faster than this.
const JSON_PAUSE: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(250);
const RUNNING: &str = "{prefix} {msg:<12} [{bar:24}] {binary_bytes_per_sec:>12}  {eta:>4} left";
const ENDED: &str = "{prefix} {msg}";

/// One drive as it is shown.
struct Shown {
    device: PathBuf,
    name: Option<String>,
    manifest: Option<Manifest>,
    total: u64,
    stage: Stage,
    began: Instant,
    told: Option<Instant>,
    bar: Option<ProgressBar>,
}

enum Form {
    Table(MultiProgress),
    Json,
    Plain,
}

/// Shows and records.
pub(super) struct Watch<'a> {
    form: Form,
    drives: Vec<Shown>,
    records: &'a Records,
    /// What is told when the table is gone.
    told: Vec<String>,
    unrecorded: Option<AppendError>,
}

impl<'a> Watch<'a> {
    /// For these jobs.
    pub(super) fn new(json: bool, jobs: &[Job], records: &'a Records) -> Self {
        let form = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Table(MultiProgress::new()),
            (false, false) => Form::Plain,
        };
        let width = jobs.iter().map(|job| prefix(job).chars().count()).max().unwrap_or(0);
        let drives = jobs.iter().map(|job| Shown::new(job, &form, width)).collect();
        Self { form, drives, records, told: Vec::new(), unrecorded: None }
    }

    /// A drive that was refused.
    pub(super) fn refused(&mut self, outcome: &Outcome, manifest: Option<&Manifest>) {
        self.record(outcome, manifest);
        self.show_end(outcome);
    }

    /// What remains to be told, and why something is not in the log.
    pub(super) fn finish(self) -> (Vec<String>, Option<AppendError>) {
        (self.told, self.unrecorded)
    }

    fn record(&mut self, outcome: &Outcome, manifest: Option<&Manifest>) {
        match self.records.append(outcome, manifest) {
            Ok(told) => self.told.extend(told),
            Err(error) => self.unrecorded = Some(error),
        }
    }

    fn show_end(&self, outcome: &Outcome) {
        match &self.form {
            Form::Table(_) => {} // the drive's line says so, and the summary does
            Form::Plain => eprintln!("{}", report::line(outcome)),
            Form::Json => {
                let failure = outcome.result.as_ref().err();
                line(&json!({
                    "event": "drive", "device": outcome.device, "device_name": outcome.device_name,
                    "state": if outcome.is_good() { "ok" } else { "failed" },
                    "reason": failure.map(|failure| failure.reason), "text": failure.map(|failure| &failure.text),
                }));
            }
        }
    }

    fn show_note(&mut self, drive: usize, note: &str) {
        self.told.push(format!("{}: {note}", self.drives[drive].device.display()));
    }
}

/// What is said when somebody stops the run.
fn told_stopping(hurry: Hurry) -> &'static str {
    match hurry {
        Hurry::No | Hurry::NextBlock => {
            "stopping: each drive ends at its next block, and nothing boots from it; once more gives up drives that do not answer"
        }
        Hurry::Now => "giving up the drives that did not answer yet",
    }
}

impl Watcher for Watch<'_> {
    fn stopping(&mut self, hurry: Hurry) {
        let text = told_stopping(hurry);
        match &self.form {
            Form::Table(table) => table.println(text).unwrap_or_default(), // a terminal that is gone hears nothing anyway
            Form::Plain => eprintln!("{text}"),
            Form::Json => line(&json!({ "event": "stopping", "text": text })),
        }
    }

    fn event(&mut self, drive: usize, event: Event<'_>) {
        let json = matches!(self.form, Form::Json);
        match event {
            Event::Stage(stage) => self.drives[drive].begin(stage, json),
            Event::Advance(done) => self.drives[drive].advance(done, json),
            Event::Note(note) => self.show_note(drive, note),
            Event::Ended(outcome) => {
                let manifest = self.drives[drive].manifest.clone();
                self.record(outcome, manifest.as_ref());
                self.drives[drive].end(outcome);
                self.show_end(outcome);
            }
        }
    }
}

fn prefix(job: &Job) -> String {
    let device = job.facts.named.display().to_string();
    let model = job.drive.model.as_deref().unwrap_or_default();
    let parts = [device.as_str(), model, job.image.device_name().unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

impl Shown {
    fn new(job: &Job, form: &Form, width: usize) -> Self {
        let bar = match form {
            Form::Table(table) => Some(table.add(bar(job, width))),
            Form::Json | Form::Plain => None,
        };
        Self {
            device: job.facts.named.clone(),
            name: job.image.device_name().map(str::to_owned),
            manifest: job.image.manifest.clone(),
            total: job.bytes(),
            stage: Stage::Opening,
            began: Instant::now(),
            told: None,
            bar,
        }
    }

    fn begin(&mut self, stage: Stage, json: bool) {
        (self.stage, self.began, self.told) = (stage, Instant::now(), None);
        if let Some(bar) = &self.bar {
            bar.set_message(stage.as_str());
            bar.reset();
        }
        if json {
            self.tell(0);
        }
    }

    fn advance(&mut self, done: u64, json: bool) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if json && self.told.is_none_or(|last| last.elapsed() >= JSON_PAUSE) {
            self.tell(done);
        }
    }

    fn tell(&mut self, done: u64) {
        self.told = Some(Instant::now());
        let seconds = self.began.elapsed().as_secs_f64();
        let speed = if done == 0 { 0 } else { (done as f64 / seconds) as u64 };
        line(&json!({
            "event": "drive", "device": self.device, "device_name": self.name, "state": self.stage.as_str(),
            "done_bytes": done, "total_bytes": self.total, "bytes_per_second": speed,
        }));
    }

    fn end(&self, outcome: &Outcome) {
        let Some(bar) = &self.bar else { return };
        bar.set_style(ProgressStyle::with_template(ENDED).expect("the template above is well formed"));
        bar.abandon_with_message(match &outcome.result {
            Ok(()) => "ok".to_owned(),
            Err(failure) => format!("FAILED ({})", failure.reason),
        });
    }
}

fn bar(job: &Job, width: usize) -> ProgressBar {
    let bar = ProgressBar::new(job.bytes());
    let style = ProgressStyle::with_template(RUNNING).expect("the template above is well formed");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(format!("{:<width$}", prefix(job)));
    bar.set_message(Stage::Opening.as_str());
    bar.enable_steady_tick(TICK);
    bar
}
