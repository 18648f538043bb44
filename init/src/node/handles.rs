//! Handles to the tasks that own configuration and power, and the settings apid serves with.
//!
//! A handle sends and waits; the deciding is done by the task at the other end.

use std::sync::Arc;

use machine_config::schema::MachineConfig;
use machine_config::{Change, Refusal};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

/// The configuration in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// What it says.
    pub config: MachineConfig,
    /// Its generation.
    pub generation: u64,
    /// SHA-256 of the accepted bytes, hex.
    pub digest: String,
    /// The key that signed it.
    pub key_id: String,
}

/// The outcome of an accepted, or with `dry_run` acceptable, configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Its generation.
    pub generation: u64,
    /// SHA-256 of the bytes, hex.
    pub digest: String,
    /// What differs from the configuration before it.
    pub changes: Vec<Change>,
    /// Fields this version does not act on.
    pub not_yet_in_effect: Vec<String>,
    /// The same bytes were accepted before; nothing was done.
    pub already_in_force: bool,
}

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The configuration itself was judged and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The device cannot judge yet.
    #[error("cannot judge a configuration yet: {0}")]
    NotReady(String),
    /// It is good but cannot be recorded durably, so it does not act.
    #[error("cannot record the configuration on STATE: {0}")]
    Store(String),
    /// init failed while judging it.
    #[error("cannot judge this configuration: init has a defect; see the kernel log and report it")]
    Defect,
}

impl ApplyError {
    /// The stable code for the API's error metadata.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::NotReady(_) => "not-ready",
            Self::Store(_) => "store",
            Self::Defect => "defect",
        }
    }
}

/// One call of [`ConfigHandle::apply`], for the task that owns the configuration.
#[derive(Debug)]
pub struct ApplyRequest {
    /// The signed file, exact bytes.
    pub bytes: Vec<u8>,
    /// Judge and compare only.
    pub dry_run: bool,
    /// Who brought it, for the event log.
    pub peer: String,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Result<Applied, ApplyError>>,
}

/// Offers configurations and shows the one in force.
#[derive(Debug, Clone)]
pub struct ConfigHandle {
    requests: mpsc::Sender<ApplyRequest>,
    current: watch::Receiver<Option<Arc<InForce>>>,
}

impl ConfigHandle {
    /// Offers a signed configuration; returns once it is recorded durably (its effects may still be on their way).
    pub async fn apply(&self, bytes: Vec<u8>, dry_run: bool, peer: &str) -> Result<Applied, ApplyError> {
        let (answer, outcome) = oneshot::channel();
        let request = ApplyRequest { bytes, dry_run, peer: peer.to_owned(), answer };
        let stopping = |()| ApplyError::NotReady("the device is shutting down".to_owned());
        self.requests.send(request).await.map_err(|_| stopping(()))?;
        outcome.await.map_err(|_| stopping(()))?
    }

    /// The configuration in force; none in maintenance.
    pub fn current(&self) -> Option<Arc<InForce>> {
        self.current.borrow().clone()
    }

    /// Wakes when another configuration comes into force.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<InForce>>> {
        self.current.clone()
    }
}

/// A handle and the two ends the owning task keeps.
pub fn config_channel() -> (ConfigHandle, mpsc::Receiver<ApplyRequest>, watch::Sender<Option<Arc<InForce>>>) {
    let (requests, inbox) = mpsc::channel(4);
    let (in_force, current) = watch::channel(None);
    (ConfigHandle { requests, current }, inbox, in_force)
}

/// How the machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerKind {
    /// Down and up again.
    Reboot,
    /// Down.
    PowerOff,
}

impl PowerKind {
    /// The words in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "power off",
        }
    }
}

/// Somebody wants the machine to go down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerRequest {
    /// How.
    pub kind: PowerKind,
    /// Who asked, for the event log.
    pub by: String,
}

/// Asks for reboot or power-off. The first request wins; later ones are ignored.
#[derive(Debug, Clone)]
pub struct PowerHandle(Arc<watch::Sender<Option<PowerRequest>>>);

impl PowerHandle {
    /// Asks; returns at once.
    pub fn request(&self, kind: PowerKind, by: &str) {
        self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert_with(|| PowerRequest { kind, by: by.to_owned() });
            first
        });
    }

    /// Wakes when somebody has asked: for streams that must end before the machine goes down.
    pub fn subscribe(&self) -> watch::Receiver<Option<PowerRequest>> {
        self.0.subscribe()
    }
}

/// A handle and the end that the boot's main loop watches.
pub fn power_channel() -> (PowerHandle, watch::Receiver<Option<PowerRequest>>) {
    let (sender, receiver) = watch::channel(None);
    (PowerHandle(Arc::new(sender)), receiver)
}

/// What apid serves with; see `skerry.internal.v1.Settings`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApidSettings {
    /// DER: leaf, then the device's self-signed identity certificate.
    pub certificate_chain: Vec<Vec<u8>>,
    /// PKCS#8 DER of the leaf's key.
    pub private_key: Zeroizing<Vec<u8>>,
    /// PEM; empty in maintenance.
    pub client_ca: String,
    /// Calls of the maintenance set answer without a client certificate.
    pub maintenance: bool,
    /// Listen address, e.g. `[::]:7440`.
    pub listen: String,
    /// The device id.
    pub device_id: String,
    /// Whom apid phones; none: nobody.
    pub hub: Option<api::internal::HubSettings>,
}

impl std::fmt::Debug for ApidSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApidSettings")
            .field("maintenance", &self.maintenance)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// The settings and their changes; none until the identity key is loaded.
pub type ApidSettingsWatch = watch::Receiver<Option<ApidSettings>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_power_request_wins() {
        let (handle, watcher) = power_channel();
        handle.request(PowerKind::Reboot, "admin");
        handle.request(PowerKind::PowerOff, "operator");
        let request = watcher.borrow().clone().expect("one was made");
        assert_eq!((request.kind, request.by.as_str()), (PowerKind::Reboot, "admin"));
    }

    #[tokio::test]
    async fn applying_while_nobody_listens_says_so() {
        let (handle, inbox, _in_force) = config_channel();
        drop(inbox);
        let error = handle.apply(vec![], true, "admin").await.expect_err("nobody listens");
        assert_eq!(error.code(), "not-ready");
    }
}
