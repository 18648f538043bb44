//! The commands of `skerry-hub`. They are for the hub's own host: whoever may run them may read the hub's folder anyway.

mod args;
mod limit;
mod routes;
pub mod serve;
mod services;
mod tasks;
mod tools;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tracing::level_filters::LevelFilter;

use args::{AuditCommand, Cli, Command, LogForm};
pub use routes::routes;
pub use services::Services;

/// Runs the command that the program was called with.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skerry-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let level = if cli.verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    match cli.log {
        LogForm::Text => log.init(),
        LogForm::Json => log.json().flatten_event(true).init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    match cli.command {
        Command::Serve(args) => {
            limit::raise_open_files();
            runtime.block_on(serve::run(args.try_into()?))
        }
        Command::Pin(place) => tools::pin(&place),
        Command::AdminToken(place) => runtime.block_on(tools::admin_token(&place)),
        Command::Audit { command: AuditCommand::Verify { place, holds } } => {
            runtime.block_on(tools::verify_audit(&place, holds.as_deref()))
        }
    }
}
