//! What can go wrong with a fleet's folder, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::failure::{Exit, Explain};
use crate::files::FileError;

use super::{MAX_CERTIFICATE_DAYS, TRUST_FILE};

/// Why a fleet's folder could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The folder is there and holds something.
    #[error("cannot make a fleet in {dir}: the folder exists and is not empty")]
    Occupied {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder could not be made.
    #[error("cannot make the fleet folder {dir}")]
    MakeFolder {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder has no `fleet.pub`.
    #[error("{dir} is not a fleet folder: it has no {TRUST_FILE}")]
    NotAFleet {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of the folder is not what it should be.
    #[error("cannot use {path}: it is not {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The key in the folder is not the one that `fleet.pub` names.
    #[error("cannot sign with {dir}: its signing key is not the one in {TRUST_FILE}")]
    ForeignKey {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds the public half only, as it should on most desks.
    #[error("cannot use {path}: the private key is not in this folder")]
    KeyAbsent {
        /// Where it would be.
        path: PathBuf,
    },
    /// The key is sealed and no passphrase was given.
    #[error("cannot open {path}: it is under a passphrase")]
    PassphraseNeeded {
        /// The sealed file.
        path: PathBuf,
    },
    /// The passphrase does not open the file.
    #[error("cannot open {path}: the passphrase is wrong")]
    WrongPassphrase {
        /// The sealed file.
        path: PathBuf,
    },
    /// The sealed file cannot be read for another reason.
    #[error("cannot open {path}")]
    Unseal {
        /// The sealed file.
        path: PathBuf,
        /// What age says.
        source: Box<age::DecryptError>,
    },
    /// Sealing failed.
    #[error("cannot seal {path}")]
    Seal {
        /// The file to be.
        path: PathBuf,
        /// What age says.
        source: Box<age::EncryptError>,
    },
    /// The system gave no random bytes.
    #[error("cannot make a key: the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A certificate with no name, a control character in it, or an endless life.
    #[error("cannot make a certificate: {0}")]
    CertificateRequest(String),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Explain for FleetError {
    fn exit(&self) -> Exit {
        match self {
            Self::CertificateRequest(_) | Self::PassphraseNeeded { .. } => Exit::Usage,
            Self::Occupied { .. }
            | Self::MakeFolder { .. }
            | Self::NotAFleet { .. }
            | Self::Damaged { .. }
            | Self::ForeignKey { .. }
            | Self::KeyAbsent { .. }
            | Self::WrongPassphrase { .. }
            | Self::Unseal { .. }
            | Self::Seal { .. }
            | Self::Random(_)
            | Self::Certificate(_)
            | Self::File(_) => Exit::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => Some("name a folder that does not exist yet; a fleet is never overwritten".into()),
            Self::NotAFleet { .. } => Some("make one with `skerryctl fleet init DIR`".into()),
            Self::PassphraseNeeded { .. } => Some("run it on a terminal, or give --passphrase-file FILE".into()),
            Self::KeyAbsent { .. } => Some("do it where the folder that `skerryctl fleet init` made is kept".into()),
            Self::ForeignKey { .. } | Self::Damaged { .. } => Some("restore the folder from its backup".into()),
            Self::CertificateRequest(_) => {
                Some(format!("give a name without control characters and 1 to {MAX_CERTIFICATE_DAYS} days"))
            }
            Self::File(error) => error.hint(),
            Self::MakeFolder { .. }
            | Self::WrongPassphrase { .. }
            | Self::Unseal { .. }
            | Self::Seal { .. }
            | Self::Random(_)
            | Self::Certificate(_) => None,
        }
    }
}
