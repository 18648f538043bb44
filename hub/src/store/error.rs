//! Why the store did not do something.

use machine_config::DeviceId;

use crate::config::UploadError;
use crate::expected::ImportError;
use crate::model::{DeviceState, LabelError};

/// Why the store did not do something. What is not the caller's fault is [`StoreError::Database`], [`StoreError::Corrupt`] or
/// [`StoreError::Closed`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's address names none we know.
    #[error("cannot open the database: its address begins with neither `sqlite:` nor `postgres:`")]
    Url,
    /// A later program made the database.
    #[error("cannot use the database: it has version {found}, this program knows {known}; use a newer skerry-hub")]
    Newer {
        /// As found.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The database failed.
    #[error("cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: sqlx::Error,
    },
    /// Everything was done, but the transaction did not end well: whether it counts is unknown.
    #[error("cannot commit to the database: {message}")]
    Commit {
        /// Why.
        message: String,
    },
    /// The database holds what this program never wrote.
    #[error("cannot read {what} from the database: {message}")]
    Corrupt {
        /// Which column.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The writer has ended.
    #[error("cannot write to the database: the hub is stopping")]
    Closed,
    /// There is none.
    #[error("cannot find {what} `{name}`")]
    Missing {
        /// A device, a token.
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// There are several.
    #[error("cannot tell which device is meant: {count} have {what} `{name}`; name it by its id")]
    Ambiguous {
        /// How many.
        count: u64,
        /// A serial number, a name.
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// A device does not go from here to there.
    #[error("cannot make device {device} {to}: it is {from}{}", hint(*.from))]
    Transition {
        /// The device.
        device: DeviceId,
        /// How it stands.
        from: DeviceState,
        /// How it should stand.
        to: DeviceState,
    },
    /// A device says something else than somebody saw who decided about it.
    #[error("cannot approve device {device}: it says something else about its hardware now than when you looked; look again")]
    Changed {
        /// The device.
        device: DeviceId,
    },
    /// It is in use.
    #[error("cannot delete {what} `{name}`: {why}")]
    InUse {
        /// A configuration.
        what: &'static str,
        /// Which.
        name: String,
        /// By what.
        why: &'static str,
    },
    /// Labels or groups that cannot be.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A value that cannot be.
    #[error("cannot use {what}: {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What it should be.
        why: String,
    },
    /// An API token that could do more than the one it is made with.
    #[error("cannot give another token more than this one has: name some of its own scopes")]
    Scopes,
    /// A configuration that no device would take.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A manifest or log that is not believed.
    #[error(transparent)]
    Import(#[from] ImportError),
}

const fn hint(from: DeviceState) -> &'static str {
    match from {
        DeviceState::Removed => ", and that is final: its key is revoked. Let it make a new one by flashing it again",
        DeviceState::Pending | DeviceState::Admitted | DeviceState::Refused | DeviceState::Quarantined => "",
    }
}

impl StoreError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url
            | Self::Newer { .. }
            | Self::Database { .. }
            | Self::Commit { .. }
            | Self::Corrupt { .. }
            | Self::Closed => "database",
            Self::Missing { .. } => "not-found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Transition { .. } => "state",
            Self::Changed { .. } => "changed",
            Self::InUse { .. } => "in-use",
            Self::Label(_) | Self::Invalid { .. } => "invalid",
            Self::Scopes => "scope",
            Self::Upload(error) => error.code(),
            Self::Import(error) => error.code(),
        }
    }

    /// The hub failed, not who asked.
    pub fn is_internal(&self) -> bool {
        self.code() == "database"
    }
}

/// Says what was being done when the database failed.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { doing, source })
    }
}
