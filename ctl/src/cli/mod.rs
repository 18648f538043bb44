//! The `skerryctl` command: reads its arguments, runs one command, ends with a documented exit code.

mod apply;
mod args;
mod ask;
mod authority;
mod check;
mod config;
mod fleet;
mod hub;
mod node;
mod reach;
mod template;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::failure::{Exit, Explain, Failure};
use crate::output::Format;
use crate::view::clean;

use args::{Cli, Command};

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Asking for help is no error; clap knows which stream and which code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { 0 });
        }
    };
    let format = cli.global.output;
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, format);
            ExitCode::from(failure.explain().exit().code())
        }
    }
}

fn execute(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Fleet(command) => fleet::run(command, global.output),
        Command::Config(command) => config::run(command, global.output),
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "skerryctl", &mut script);
            crate::output::print(&String::from_utf8_lossy(&script))
        }
        Command::Hub(command) => on_runtime(hub::run(global, command)),
        Command::Apply(command) => on_runtime(apply::run(global, command)),
        Command::Status(command) => on_runtime(node::status(global, command)),
        Command::Version => on_runtime(node::version(global)),
        Command::Services { command } => on_runtime(node::services(global, command)),
        Command::Logs(command) => on_runtime(node::logs(global, command)),
        Command::Dmesg(command) => on_runtime(node::dmesg(global, command)),
        Command::Events(command) => on_runtime(node::events(global, command)),
        Command::BootTimes => on_runtime(node::boot_times(global)),
        Command::Get { what } => on_runtime(node::get(global, what)),
        Command::Reboot(confirm) => on_runtime(node::reboot(global, confirm)),
        Command::Poweroff(confirm) => on_runtime(node::power_off(global, confirm)),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the I/O runtime")]
struct RuntimeError(#[from] io::Error);

impl Explain for RuntimeError {
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

fn on_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RuntimeError)?;
    let result = runtime.block_on(command);
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

/// What a program reads from standard error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    error: &'a str,
    exit: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

fn report(failure: &Failure, format: Format) {
    let error = failure.explain();
    let (message, hint) = (failure.message(), error.hint());
    match format {
        Format::Table => {
            eprintln!("error: {}", clean_lines(&message));
            if let Some(hint) = hint {
                eprintln!("hint: {}", clean_lines(&hint));
            }
        }
        Format::Json | Format::Yaml => {
            let exit = error.exit();
            let (line, column) = error.position().unzip();
            let refusal = error.refusal_code();
            let report = Report { error: exit.word(), exit: exit.code(), message, refusal, line, column, hint };
            eprintln!("{}", serde_json::to_string(&report).expect("a report holds only text and a number"));
        }
    }
}

/// Messages may quote a node or a file; line ends stay, other control characters are escaped.
fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}
