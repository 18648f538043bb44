//! What a person sees of a boot server: a line for each thing that happens, a bar for each machine that loads, a table at the end; JSON events for
//! programs.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use comfy_table::Table;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Zoned;
use serde::Serialize;

use super::super::say;
use super::super::ui::Ui;
use crate::serve::event::{Event, Watcher};
use crate::serve::warehouse::Warehouse;

enum Form {
    Bars(MultiProgress),
    Json,
    Plain,
}

/// How far one machine is.
#[derive(Debug, Clone, Default)]
struct Line {
    offered: Option<String>,
    sent: u64,
    bytes: u64,
    bar: Option<ProgressBar>,
}

/// Shows events.
pub(super) struct Show {
    form: Form,
    lines: Mutex<HashMap<String, Line>>,
}

/// One machine at the end.
#[derive(Debug, Serialize)]
struct Row {
    mac: String,
    name: String,
    /// What its firmware was last told.
    offered: Option<String>,
    /// Hundredths of its image that it has; of the load under way, or the last one.
    percent: u64,
    loads: u32,
}

impl Show {
    /// Chooses the form: `json` as asked, bars when standard error is a terminal.
    pub(super) fn new(json: bool) -> Self {
        let form = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Bars(MultiProgress::new()),
            (false, false) => Form::Plain,
        };
        Self { form, lines: Mutex::default() }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, event: &Event) {
        match event {
            Event::Offered { mac, file, .. } => self.lines().entry(mac.clone()).or_default().offered = Some(file.clone()),
            Event::Loading { mac, name, bytes } => {
                let bar = match &self.form {
                    Form::Bars(bars) => Some(bars.add(bar(name, *bytes))),
                    Form::Json | Form::Plain => None,
                };
                let mut lines = self.lines();
                let line = lines.entry(mac.clone()).or_default();
                (line.sent, line.bytes, line.bar) = (0, *bytes, bar);
            }
            Event::Progress { mac, sent, bytes, .. } => self.move_to(mac, *sent, *bytes),
            Event::Loaded { mac, .. } => self.end(mac, true),
            Event::Broken { mac, .. } => self.end(mac, false),
            Event::Listening { .. } | Event::Passed { .. } | Event::Denied { .. } | Event::Warning { .. } => {}
        }
    }

    fn move_to(&self, mac: &str, sent: u64, bytes: u64) {
        let mut lines = self.lines();
        let line = lines.entry(mac.to_owned()).or_default();
        (line.sent, line.bytes) = (sent, bytes);
        if let Some(bar) = &line.bar {
            bar.set_position(sent);
        }
    }

    fn end(&self, mac: &str, whole: bool) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(mac) else { return };
        if whole {
            line.sent = line.bytes;
        }
        if let Some(bar) = line.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The table of all machines: for programs the last event, for people text.
    pub(super) fn finish(&self, warehouse: &Warehouse, ui: &Ui) {
        let lines = self.lines().clone();
        let rows: Vec<Row> = warehouse
            .stock()
            .machines()
            .iter()
            .map(|(mac, machine)| {
                let line = lines.get(mac.as_str()).cloned().unwrap_or_default();
                let percent = (line.sent * 100).checked_div(line.bytes).unwrap_or(0);
                let (mac_text, name) = (mac.to_string(), machine.name.to_string());
                Row { mac: mac_text, name, offered: line.offered, percent, loads: warehouse.loads(mac) }
            })
            .collect();
        ui.done(&rows, &format!("{}\n", table(&rows)));
    }
}

impl Watcher for Show {
    fn event(&self, event: &Event) {
        self.keep(event);
        if matches!(self.form, Form::Json) {
            let text = serde_json::to_string(event).expect("plain fields have a JSON form");
            return say(&format!("{text}\n"));
        }
        let Some(words) = words(event) else { return };
        let line = format!("{}  {words}", Zoned::now().strftime("%H:%M:%S"));
        match &self.form {
            Form::Bars(bars) => bars.suspend(|| eprintln!("{line}")),
            Form::Json | Form::Plain => eprintln!("{line}"),
        }
    }
}

/// An event in words; none: a bar or the table shows it.
fn words(event: &Event) -> Option<String> {
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "not listed".into());
    Some(match event {
        Event::Listening { interface, address, http_port, machines } => {
            format!("serving {machines} machines on {interface}, {address}, HTTP port {http_port}; Ctrl-C ends it")
        }
        Event::Offered { mac, name, loader, file } => format!("{mac}  {}  {loader}: offered {file}", named(name)),
        Event::Passed { mac, reason } => format!("{mac}  not answered: {reason}"),
        Event::Loading { mac, name, bytes } => format!("{mac}  {name}  loading {} MiB", bytes >> 20),
        Event::Progress { .. } => return None,
        Event::Loaded { mac, name, loads } => format!("{mac}  {name}  loaded, {loads} times so far"),
        Event::Broken { mac, name, sent, reason } => format!("{mac}  {name}  stopped after {} MiB: {reason}", sent >> 20),
        Event::Denied { peer, file, reason } => format!("{peer}  refused {file}: {reason}"),
        Event::Warning { message } => format!("warning: {message}"),
    })
}

fn bar(name: &str, bytes: u64) -> ProgressBar {
    let template = "{msg} [{bar:30}] {percent}% of {total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template above is well formed");
    let bar = ProgressBar::new(bytes).with_style(style.progress_chars("=> "));
    bar.set_message(name.to_owned());
    bar
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["MAC", "NAME", "OFFERED", "LOADED", "TIMES"]);
    for row in rows {
        let offered = row.offered.as_deref().unwrap_or("never asked");
        table.add_row([&row.mac, &row.name, offered, &format!("{}%", row.percent), &row.loads.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_whom_it_is_about() {
        let (mac, name) = ("52:54:00:00:00:01".to_owned(), "store-1".to_owned());
        for (event, expected) in [
            (
                Event::Offered { mac: mac.clone(), name: None, loader: "PXE".into(), file: "x".into() },
                Some("52:54:00:00:00:01  not listed  PXE: offered x"),
            ),
            (
                Event::Broken { mac: mac.clone(), name: name.clone(), sent: 5 << 20, reason: "it fell silent".into() },
                Some("52:54:00:00:00:01  store-1  stopped after 5 MiB: it fell silent"),
            ),
            (Event::Progress { mac, name, sent: 1, bytes: 2 }, None),
        ] {
            assert_eq!(words(&event).as_deref(), expected);
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_machine() {
        let row = |mac: &str, offered: Option<&str>, percent| Row {
            mac: mac.into(),
            name: "store-1".into(),
            offered: offered.map(Into::into),
            percent,
            loads: 1,
        };
        let text = table(&[row("a", None, 0), row("b", Some("x.efi"), 100)]).to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("never asked") && text.contains("100%"), "{text}");
    }
}
