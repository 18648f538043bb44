//! Progress for whoever is looking: bars on a terminal, JSON lines for programs, a plain line per finished step otherwise.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::say;
use crate::progress::{Event, Progress};

/// JSON advances of one step come no faster than this.
const JSON_PAUSE: Duration = Duration::from_millis(200);
/// A plain line is worth its space for steps that take at least this long.
const WORTH_A_LINE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(120);

enum Form {
    Bars(MultiProgress),
    Json,
    Plain,
}

/// One step under way.
struct Running {
    began: Instant,
    reported: Option<Instant>,
    bar: Option<ProgressBar>,
}

/// Shows events. Results go to standard output, progress to standard error; JSON events are results.
pub(super) struct Ui {
    form: Form,
    running: Mutex<HashMap<String, Running>>,
}

impl Ui {
    /// Chooses the form: `json` as asked, bars when standard error is a terminal.
    pub(super) fn new(json: bool) -> Self {
        let form = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Bars(MultiProgress::new()),
            (false, false) => Form::Plain,
        };
        Self { form, running: Mutex::default() }
    }

    /// Takes bars away before a result is printed.
    fn finish(&self) {
        self.running().clear();
        if let Form::Bars(bars) = &self.form {
            bars.clear().ok(); // a terminal that has gone away is no error
        }
    }

    /// What came of it: the last event for programs, `text` for people.
    pub(super) fn done(&self, report: &impl Serialize, text: &str) {
        self.finish();
        match self.form {
            Form::Json => line(&json!({ "event": "done", "report": report })),
            Form::Bars(_) | Form::Plain => say(text),
        }
    }

    /// The error that ends the program, in one line.
    pub(super) fn error(&self, message: &str) {
        self.finish();
        if matches!(self.form, Form::Json) {
            line(&json!({ "event": "error", "message": message }));
        }
        eprintln!("error: {message}");
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, step: &str, total_bytes: Option<u64>) {
        let bar = match &self.form {
            Form::Bars(bars) => Some(bars.add(bar(step, total_bytes))),
            Form::Json => {
                line(&json!({ "event": "begin", "step": step, "total_bytes": total_bytes }));
                None
            }
            Form::Plain => None,
        };
        self.running().insert(step.to_owned(), Running { began: Instant::now(), reported: None, bar });
    }

    fn advance(&self, step: &str, done_bytes: u64) {
        let mut running = self.running();
        let Some(state) = running.get_mut(step) else { return };
        if let Some(bar) = &state.bar {
            // Threads report in no order; a bar never goes back.
            bar.set_position(done_bytes.max(bar.position()));
        }
        if matches!(self.form, Form::Json) && state.reported.is_none_or(|last| last.elapsed() >= JSON_PAUSE) {
            state.reported = Some(Instant::now());
            line(&json!({ "event": "advance", "step": step, "done_bytes": done_bytes }));
        }
    }

    fn end(&self, step: &str) {
        let Some(state) = self.running().remove(step) else { return };
        let took = state.began.elapsed();
        match &self.form {
            Form::Bars(_) => state.bar.iter().for_each(|bar| bar.finish_and_clear()),
            Form::Json => line(&json!({ "event": "end", "step": step, "seconds": took.as_secs_f64() })),
            Form::Plain if took >= WORTH_A_LINE => eprintln!("{step}: {:.1} s", took.as_secs_f64()),
            Form::Plain => {}
        }
    }

    fn warn(&self, message: &str) {
        match &self.form {
            Form::Bars(bars) => bars.suspend(|| eprintln!("warning: {message}")),
            Form::Json => line(&json!({ "event": "warn", "message": message })),
            Form::Plain => eprintln!("warning: {message}"),
        }
    }
}

impl Progress for Ui {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin { step, total_bytes } => self.begin(step, total_bytes),
            Event::Advance { step, done_bytes } => self.advance(step, done_bytes),
            Event::End { step } => self.end(step),
            Event::Warn { message } => self.warn(message),
        }
    }
}

/// Prints an event for programs.
pub(super) fn line(value: &serde_json::Value) {
    say(&format!("{value}\n"));
}

fn bar(step: &str, total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (ProgressBar::new(total), "{spinner} {msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template above is well formed");
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(step.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}
