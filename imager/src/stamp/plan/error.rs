//! Why a row is not stamped, in words with its line.

use std::path::PathBuf;

use machine_config::seed::EncodeError;

use crate::board::K3sRole;
use crate::stamp::roles;

/// Why a row is not stamped.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A device of another sort.
    #[error("cannot stamp {name} (line {line}): it is a `{wanted}`, the base is for `{board}`; use the base of its board")]
    Board {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The row's board.
        wanted: String,
        /// The base's.
        board: String,
    },
    /// A configuration for another device.
    #[error(
        "cannot stamp {name} (line {line}): {} is for {wanted}, this device has {actual}; name the one made for it", path.display()
    )]
    Target {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration.
        path: PathBuf,
        /// What it asks for.
        wanted: String,
        /// What the row has.
        actual: String,
    },
    /// A configuration that makes of the board what it is too weak for.
    #[error("cannot stamp {name} (line {line}): {} makes it a k3s {wanted}, {}", path.display(), roles::allowed(board, roles))]
    Role {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration.
        path: PathBuf,
        /// What it asks for.
        wanted: &'static str,
        /// The base's board.
        board: String,
        /// What that board may be.
        roles: Vec<K3sRole>,
    },
    /// A file nobody has read.
    #[error("cannot stamp {name} (line {line}): {} was not read", path.display())]
    Unread {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// The configuration or key.
        path: PathBuf,
    },
    /// Two devices with one key.
    #[error("cannot stamp {name} (line {line}): the device at line {first} has the same key; each device has its own")]
    SharedIdentity {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// Line of the other one.
        first: usize,
    },
    /// SEED cannot hold it.
    #[error("cannot stamp {name} (line {line})")]
    Encode {
        /// The row's line.
        line: usize,
        /// The device.
        name: String,
        /// Why.
        source: EncodeError,
    },
    /// There is nothing random to make a token or a key of.
    #[error("cannot make a join token or a key: the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}
