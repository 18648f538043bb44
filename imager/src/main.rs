//! `imager`: builds, checks and inspects Skerry's disk images.

use std::process::ExitCode;

use clap::Parser;
use imager::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
