//! `skerry-init`: PID 1 of a Skerry device. Everything it does stands in the library; this file makes the process.

use std::process::ExitCode;

use init::{boot, power};

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "skerry-init {}: PID 1 of a Skerry device; it is started by the kernel and does nothing else",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    boot::prepare_process();
    let why = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime.block_on(boot::run()).to_string(),
        Err(error) => format!("cannot start the runtime: {error}"),
    };
    power::restart_after(&why)
}
