//! The `skerryctl` command. Everything it does stands in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ctl::cli::run()
}
