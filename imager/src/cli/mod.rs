//! The command line: options in, calls to the library, reports and errors out. One line per error, with its whole chain of causes.

#[cfg(test)]
mod another_board;
mod args;
mod build;
mod convert;
mod devices;
mod files;
mod flash;
mod fleet;
mod floor;
mod folder;
mod formats;
mod label;
mod records;
mod serve;
mod stamp;
mod ui;
mod workspace;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

pub use args::Cli;

use crate::board::{self, Board, K3sRole};
use crate::components::{assemble, fetch, lock};
use crate::inspect::Depth;
use crate::stamp::roles::SERVER_MIB;
use crate::unfold;
use args::{BoardsArgs, Command, FetchArgs, FilesArgs, InspectArgs, LockArgs};
use ui::Ui;

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let ui = Ui::new(self.common.json);
        match self.dispatch(&ui) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                ui.error(&one_line(&error));
                exit_code(&error)
            }
        }
    }

    fn dispatch(self, ui: &Ui) -> Result<()> {
        let common = &self.common;
        match self.command {
            Command::Build(build) => build::run(common, &build, ui),
            Command::Convert(args) => convert::run(common, &args, ui),
            Command::Inspect(inspect) => run_inspect(common.json, &inspect),
            Command::Boards(boards) => run_boards(common, &boards),
            Command::Lock(lock) => run_lock(common, &lock, ui),
            Command::Fetch(fetch) => run_fetch(common, &fetch, ui),
            Command::Files(files) => run_files(common, &files, ui),
            Command::Stamp(args) => stamp::run_stamp(common.json, &args, ui),
            Command::Verify(args) => stamp::run_verify(&args, ui),
            Command::Serve(args) => serve::run(common, &args, ui),
            Command::Flash(args) => flash::run(common.json, &args, ui),
            Command::Records(args) => records::run(common.json, &args, ui),
            Command::Label(args) => label::run(&args, ui),
            Command::StationKey(args) => stamp::run_station_key(&args, ui),
        }
    }
}

/// What the program ends with when its options make no sense; clap's code for the same.
const USAGE_CODE: u8 = 2;

/// What the program ends with when somebody stopped it before it was done.
const INTERRUPTED_CODE: u8 = 3;

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        ExitCode::from(USAGE_CODE)
    } else if error.is::<Interrupted>() {
        ExitCode::from(INTERRUPTED_CODE)
    } else {
        ExitCode::FAILURE
    }
}

/// Somebody stopped the program, which says how far it came.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Interrupted(String);

impl Interrupted {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Options that make no sense together, or here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Usage {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The error and its causes, joined by colons; line breaks inside become spaces.
fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // An error that shows its cause already is not said twice.
        if !parts.last().is_some_and(|last| last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Prints to standard output; a reader that has gone away is no error.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

fn say_json(value: &impl Serialize) -> Result<()> {
    say(&(serde_json::to_string_pretty(value).context("cannot print the result as JSON")? + "\n"));
    Ok(())
}

fn run_inspect(json: bool, args: &InspectArgs) -> Result<()> {
    let depth = if args.check { Depth::EveryFile } else { Depth::Overview };
    let inspection = unfold::inspect(&args.image, depth)?;
    if json {
        return say_json(&inspection);
    }
    say(&inspection.to_string());
    Ok(())
}

fn run_boards(common: &args::Common, _: &BoardsArgs) -> Result<()> {
    let folder = common.boards()?;
    let boards = board::names(&folder)?.iter().map(|name| Board::load(&folder, name)).collect::<Result<Vec<_>, _>>()?;
    if common.json {
        return say_json(&boards);
    }
    for board in &boards {
        say(&describe(board));
    }
    Ok(())
}

/// A board in a few lines.
fn describe(board: &Board) -> String {
    let roles = board.k3s_roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
    let formats = board.formats.iter().map(|format| format.as_str()).collect::<Vec<_>>().join(", ");
    let lines = [
        ("architecture", board.architecture.to_string()),
        ("boots by", board.boot.way().to_owned()),
        ("kernel", board.kernel.clone()),
        ("consoles", board.consoles.join(", ")),
        ("watchdog", board.watchdog.clone().unwrap_or_else(|| "none".to_owned())),
        ("memory", memory(board)),
        ("k3s", if roles.is_empty() { "no".to_owned() } else { roles }),
        ("formats", formats),
        ("proven", board.standing.proven.iter().map(|proof| proof.what.as_str()).collect::<Vec<_>>().join("; ")),
        ("awaits", board.standing.awaits.join("; ")),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("  {name:<13}{value}\n")).collect();
    format!("{}  {}\n{text}", board.name, board.description)
}

/// The least memory, and whether it is too little for a role that larger machines of the kind may have.
fn memory(board: &Board) -> String {
    let mib = board.memory_mib;
    match board.k3s_roles.contains(&K3sRole::Server) && mib < SERVER_MIB {
        true => format!("{mib} MiB at least; a k3s server wants {SERVER_MIB} MiB, which not all of them have"),
        false => format!("{mib} MiB at least"),
    }
}

fn run_lock(common: &args::Common, args: &LockArgs, ui: &Ui) -> Result<()> {
    let options = lock::LockOptions {
        manifest: common.manifest()?,
        lock: common.lock()?,
        cache: common.cache.clone(),
        mirrors: common.mirrors()?,
        allow_expired: args.allow_expired,
    };
    let report = lock::run(&options, ui)?;
    let changes: String = report.changes.iter().map(|line| format!("{line}\n")).collect();
    let text = format!("{changes}{} packages locked in {}\n", report.packages, options.lock.display());
    ui.done(&json!({ "packages": report.packages, "changes": report.changes }), &text);
    Ok(())
}

fn run_fetch(common: &args::Common, args: &FetchArgs, ui: &Ui) -> Result<()> {
    let boards = match &args.board {
        Some(name) => vec![name.clone()],
        None => board::names(&common.boards()?)?,
    };
    let options = fetch::FetchOptions {
        manifest: common.manifest()?,
        lock: common.lock()?,
        cache: common.cache.clone(),
        mirrors: common.mirrors()?,
        wishes: args.wishes.wishes()?,
    };
    let mut report = Vec::new();
    for name in boards {
        for one in fetch::run(&common.board(&name)?, &options, ui)? {
            let entry = json!({ "name": one.name, "version": one.version, "sha256": one.sha256, "path": one.path });
            if !report.contains(&entry) {
                report.push(entry);
            }
        }
    }
    ui.done(&report, &format!("{} packages and files are in the cache\n", report.len()));
    Ok(())
}

fn run_files(common: &args::Common, args: &FilesArgs, ui: &Ui) -> Result<()> {
    let board = common.board(&args.board)?;
    let options = common.assemble_options(crate::components::Wishes::default())?;
    let files = assemble::test_files(&args.component, board.architecture, &options, ui)?;
    if let Some(folder) = &args.into {
        files::lay_out(&files, folder)?;
        ui.done(&json!({ "folder": folder }), &format!("{}\n", folder.display()));
        return Ok(());
    }
    let paths: BTreeMap<_, _> = files.iter().filter_map(|(name, file)| Some((name, file.path()?))).collect();
    let text: String = paths.iter().map(|(name, path)| format!("{name}\t{}\n", path.display())).collect();
    ui.done(&paths, &text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_clash() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_one_line_and_says_nothing_twice() {
        let error = anyhow!("connection\nrefused").context("cannot reach the archive").context("cannot fetch runc");
        assert_eq!(one_line(&error), "cannot fetch runc: cannot reach the archive: connection refused");
        let transparent = anyhow!("no space left").context("cannot write: no space left");
        assert_eq!(one_line(&transparent), "cannot write: no space left");
    }
}
