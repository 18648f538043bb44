//! Whether what somebody opened may stay open: a connection or a log lasts longer than the request that began it, and ends when the token is
//! revoked or over, or the login.
//!
//! What changes here is looked at within seconds; what another process of the hub changed, or what ends by time, within half a minute.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::model::Time;
use crate::store::{Store, StoreError};

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// The shortest.
const PAUSE: Duration = Duration::from_secs(2);

/// What somebody proved himself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// The API token with this id.
    Token(String),
    /// The login whose cookie hashes to this.
    Login([u8; 32]),
}

/// The rights of somebody who was let through.
#[derive(Debug, Clone)]
pub struct Rights {
    store: Store,
    credential: Credential,
}

impl Rights {
    pub(super) fn new(store: Store, credential: Credential) -> Self {
        Self { store, credential }
    }

    /// Completes when they are gone. A database that fails takes nobody's away: it is asked again.
    pub async fn ended(self) {
        let mut committed = self.store.committed();
        loop {
            tokio::select! {
                _ = committed.changed() => sleep(PAUSE).await,
                () = sleep(LOOK) => {}
            }
            committed.borrow_and_update();
            match self.count().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot tell whether a connection may stay open"),
            }
        }
    }

    async fn count(&self) -> Result<bool, StoreError> {
        match &self.credential {
            Credential::Token(id) => self.store.api_token_counts(id, Time::now()).await,
            Credential::Login(hash) => self.store.login_counts(hash, Time::now()).await,
        }
    }
}
