//! One open file per connected device: the process may have as many as the system lets it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Raises the soft limit to the hard one. What that is worth stands in the log.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => info!(most = maximum, "open files"),
        Err(error) => warn!(%error, most = current, "cannot raise the number of open files; each connected device takes one"),
    }
}
