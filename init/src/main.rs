//! `skerry-init`: PID 1 of a Skerry device. Everything it does stands in the library; this file makes the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
    power::restart_after(&live())
}

/// Runs the device until it cannot go on; says why.
fn live() -> String {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime,
        Err(error) => return format!("cannot start the runtime: {error}"),
    };
    // The kernel panics when PID 1 ends, so not even a defect may unwind out of here.
    let why = catch_unwind(AssertUnwindSafe(|| runtime.block_on(boot::run())))
        .map_or_else(|_| "init has a defect; see the kernel log".to_owned(), |error| error.to_string());
    // Dropping the runtime would wait for work that hangs on a dead disk.
    runtime.shutdown_background();
    why
}
