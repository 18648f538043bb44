//! What waits for one process to become ready: made before it starts, run beside it, ended with it.

use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::readiness::{NotifySocket, socket_accepts};
use super::spec::{Kind, Readiness, ServiceSpec};

/// The watch over one process.
pub(super) enum Watch {
    Nothing,
    Socket(PathBuf),
    Notify(NotifySocket),
}

impl Watch {
    /// Makes what the process will need at its start.
    pub(super) fn prepare(spec: &ServiceSpec, run_folder: &Path) -> Result<Self, String> {
        match (&spec.kind, &spec.readiness) {
            (Kind::OneShot, _) | (Kind::Daemon, Readiness::Running | Readiness::Reported) => Ok(Self::Nothing),
            (Kind::Daemon, Readiness::UnixSocket(path)) => Ok(Self::Socket(path.clone())),
            (Kind::Daemon, Readiness::Notify) => NotifySocket::bind(run_folder, &spec.name)
                .map(Self::Notify)
                .map_err(|error| format!("cannot make its notification socket: {error}")),
        }
    }

    /// What the process finds in its environment.
    pub(super) fn environment(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Notify(socket) => Some(("NOTIFY_SOCKET", socket.path().to_string_lossy().into_owned())),
            Self::Nothing | Self::Socket(_) => None,
        }
    }

    /// Calls `report` once the process is ready. Abort the task when the process ends.
    pub(super) fn start(self, name: String, report: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        if matches!(self, Self::Nothing) {
            return None;
        }
        Some(tokio::spawn(async move {
            if let Err(error) = self.wait(report).await {
                tracing::warn!(service = name, %error, "cannot watch for readiness");
            }
        }))
    }

    async fn wait(self, report: impl FnOnce()) -> io::Result<()> {
        match self {
            Self::Nothing => {}
            Self::Socket(path) => {
                socket_accepts(&path).await?;
                report();
            }
            Self::Notify(socket) => {
                socket.ready().await?;
                report();
                socket.drain().await?;
            }
        }
        Ok(())
    }
}
