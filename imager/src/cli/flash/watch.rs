//! The live table: a line per drive with state, speed and time left on a terminal, JSON events for programs, a line per finished drive otherwise. Appends
//! each drive's record the moment it is over, so that a power cut loses no drive that was done.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use super::record::Records;
use super::report;
use super::row::{self, Pace};
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
/// While it runs: the line of [`Pace`].
const RUNNING: &str = "{prefix} {pace}";
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
            bar.set_style(running(stage));
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
        let pace = Pace { stage: self.stage, done, total: self.total, elapsed: self.began.elapsed() };
        line(&json!({
            "event": "drive", "device": self.device, "device_name": self.name, "state": self.stage.as_str(), "done_bytes": done,
            "total_bytes": self.total, "bytes_per_second": pace.bytes_per_second(), "seconds_left": pace.seconds_left(),
        }));
    }

    fn end(&self, outcome: &Outcome) {
        let Some(bar) = &self.bar else { return };
        bar.set_style(ProgressStyle::with_template(ENDED).expect("the template above is well formed"));
        bar.abandon_with_message(row::ended(outcome));
    }
}

/// The line of a drive in this stage, drawn anew at each tick: a drive that stands still takes longer and longer.
fn running(stage: Stage) -> ProgressStyle {
    let pace = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let pace = Pace { stage, done: state.pos(), total: state.len().unwrap_or(0), elapsed: state.elapsed() };
        write!(out, "{pace}").unwrap_or_default(); // into memory, which takes all
    };
    ProgressStyle::with_template(RUNNING).expect("the template above is well formed").with_key("pace", pace)
}

fn bar(job: &Job, width: usize) -> ProgressBar {
    let bar = ProgressBar::new(job.bytes());
    bar.set_style(running(Stage::Opening));
    bar.set_prefix(format!("{:<width$}", prefix(job)));
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal that keeps all that was ever written to it.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("not poisoned").push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_shows_the_line_of_the_drive_s_stage() {
        let screen = Screen::default();
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bar.set_prefix("/dev/sdb  Stick");
        for stage in [Stage::Clearing, Stage::Writing, Stage::ReadingBack] {
            bar.set_style(running(stage));
            bar.tick();
        }
        bar.set_position(50);
        bar.tick();
        let shown = screen.0.lock().expect("not poisoned").clone();
        for expected in ["clearing     [>   ", "/dev/sdb  Stick writing      [>   ", "reading back [============>"] {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        assert!(shown.contains("/s ") && shown.contains(" left"), "{shown}");
    }
}
