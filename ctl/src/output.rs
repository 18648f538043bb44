//! Where answers go: standard output, in the format asked for. Nothing else of this crate prints there.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Exit, Explain, Failure};
use crate::view::View;

/// What answers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people; may change between versions.
    #[default]
    Table,
    /// JSON with stable field names; streams are one object a line.
    Json,
    /// YAML with stable field names; streams are one document each.
    Yaml,
}

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[from] io::Error);

impl Explain for OutputError {
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

impl Format {
    /// Shows one answer.
    pub(crate) fn show(self, view: &impl View) -> Result<(), Failure> {
        print(&match self {
            Self::Table => view.text(),
            Self::Json => json(view, serde_json::to_string_pretty),
            Self::Yaml => yaml(view),
        })
    }

    /// Shows one message of a stream, at once.
    pub(crate) fn show_item(self, view: &impl View) -> Result<(), Failure> {
        print(&match self {
            Self::Table => view.text(),
            Self::Json => json(view, serde_json::to_string),
            Self::Yaml => format!("---\n{}", yaml(view)),
        })
    }
}

fn json<V: Serialize>(view: &V, write: impl Fn(&V) -> serde_json::Result<String>) -> String {
    let mut text = write(view).expect("views hold only text, numbers and lists of them");
    text.push('\n');
    text
}

fn yaml(view: &impl Serialize) -> String {
    let mut text = serde_saphyr::to_string(view).expect("views hold only text, numbers and lists of them");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Writes text to standard output. A reader that has gone (`| head`) ends the program in peace.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(OutputError(error).into()),
    }
}
