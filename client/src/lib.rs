//! Talking to one node, for operators' programs and for the hub's log pages: who it must be, how it is reached, what its refusals mean.
//!
//! It sends nothing to a device that its [`Trust`] does not admit, and says nothing to a person: exit codes and hints are the command's.

mod address;
mod call;
mod connect;
mod dial;
mod explain;
mod identity;
mod node;
mod place;
mod stream;
pub mod trust;
mod unreached;

pub use address::NodeAddress;
pub use call::{CallError, CertificateProblem};
pub use connect::{ConnectOptions, Made, Wire, connect, connect_over};
pub use dial::{DialError, dial};
pub use identity::{Claims, ClientIdentity, IdentityError};
pub use node::{Messages, NodeClient};
pub use place::Place;
pub use trust::Trust;
pub use unreached::ConnectError;
