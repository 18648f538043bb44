//! `apid`: started by init, serves the node API over TLS and phones home.

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).init();
    // Names are resolved on threads of their own; one that hangs holds up the next call to the hub and nothing else.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(apid::daemon::run(Path::new(api::INIT_SOCKET)))
}
