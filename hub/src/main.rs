//! `skerry-hub`: the hub as one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub::cli::main()
}
