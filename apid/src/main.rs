//! `apid`: started by init, serves the node API over TLS.

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(apid::daemon::run(Path::new(api::INIT_SOCKET)))
}
