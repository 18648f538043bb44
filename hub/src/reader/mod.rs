//! Reading devices' logs for people who look at pages: the hub asks a device as any reader of the fleet does, with a client certificate that
//! somebody gave it, end to end through the device's own call.
//!
//! It takes no certificate of an operator or admin: whoever takes the hub over is to get nothing but looking. Without a certificate it asks
//! nothing. Who the device is, is judged by the operator's own client.

mod counted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::Role;
use api::v1::{LogLine, LogsRequest};
use client::{CallError, ClientIdentity, ConnectError, IdentityError, Made, Messages, Place, Trust, connect_over};
use futures_util::Stream;
use futures_util::stream::unfold;
use machine_config::DeviceId;

use crate::model::By;
use crate::tunnel::{Carried, TunnelError, Tunnels};
use counted::{Counted, Counts};

/// Time for the handshake with a device, and for its first answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Lines from before one began to follow.
const TAIL: u32 = 200;

/// Why a certificate is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// It cannot be read.
    #[error("cannot use the reader's certificate")]
    Identity(#[from] IdentityError),
    /// It may do more than read, or nothing.
    #[error(
        "cannot use {} to read logs: its role is {}, and the hub is to be a reader and no more; make one with `skerryctl fleet cert --role reader`",
        path.display(),
        role.map_or("none", |role| role.as_str())
    )]
    Role {
        /// The file.
        path: PathBuf,
        /// What it says.
        role: Option<Role>,
    },
}

/// Why a log is not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No way to the device.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// The certificate was changed, and is not usable any more.
    #[error("the hub cannot use its reader's certificate; its log says why")]
    Reader(#[source] ReaderError),
    /// Not the device, or it did not want.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The device refused.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A reader's certificate and key, by their files. They are read anew for each log, so that they can be renewed.
#[derive(Debug, Clone)]
pub struct Reader {
    certificate: Arc<Path>,
    key: Arc<Path>,
}

/// Whose log, and who asks.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The device.
    pub device: DeviceId,
    /// What people call it.
    pub name: String,
    /// The service.
    pub service: String,
    /// Who asks.
    pub by: By,
}

impl Reader {
    /// The reader with this certificate and key.
    ///
    /// # Errors
    /// They cannot be read, or are not a reader's.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, ReaderError> {
        let reader = Self { certificate: certificate.into(), key: key.into() };
        reader.identity().map(|_| reader)
    }

    fn identity(&self) -> Result<ClientIdentity, ReaderError> {
        let identity = ClientIdentity::load(&self.certificate, &self.key)?;
        match identity.claims().role {
            Some(Role::Reader) => Ok(identity),
            role => Err(ReaderError::Role { path: self.certificate.to_path_buf(), role }),
        }
    }

    /// Follows a log: its last lines, and then what comes. The tunnel is audited, and closed when the stream is dropped, or when `ended`
    /// completes: the rights of who asks end.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn follow<E>(
        &self,
        tunnels: &Tunnels,
        wanted: Wanted,
        ended: E,
    ) -> Result<impl Stream<Item = Result<LogLine, CallError>> + Send + use<E>, FollowError>
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let identity = self.identity().map_err(FollowError::Reader)?;
        let Wanted { device, name, service, by } = wanted;
        let stream = Counted::new(tunnels.open(&by, &device, ended).await?);
        let closing = Closing { tunnels: tunnels.clone(), by, device: device.clone(), counts: stream.counts() };
        let place = Place::Hub { device: name, hub: "this hub".to_owned() };
        let made = Made { stream, place, trust: Trust::Device(device), identity: Some(identity), timeout: TIMEOUT };
        let node = connect_over(made).await?;
        let lines = node.logs(LogsRequest { service, follow: true, tail: TAIL }).await?;
        Ok(unfold(Some((lines, closing)), next))
    }
}

async fn next(
    state: Option<(Messages<LogLine>, Closing)>,
) -> Option<(Result<LogLine, CallError>, Option<(Messages<LogLine>, Closing)>)> {
    let (mut lines, closing) = state?;
    match lines.next().await {
        Ok(Some(line)) => Some((Ok(line), Some((lines, closing)))),
        Ok(None) => None,
        Err(error) => Some((Err(error), None)),
    }
}

/// Writes down that the tunnel closed, once nobody looks any more.
struct Closing {
    tunnels: Tunnels,
    by: By,
    device: DeviceId,
    counts: Arc<Counts>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let carried = Carried {
            up: self.counts.up.load(Ordering::Relaxed),
            down: self.counts.down.load(Ordering::Relaxed),
            reason: String::new(),
        };
        let (tunnels, by, device) = (self.tunnels.clone(), self.by.clone(), self.device.clone());
        tokio::spawn(async move { tunnels.closed(by, &device, &carried).await });
    }
}
