//! Talking to one node: who it must be, how it is reached, what its refusals mean.

mod address;
mod call;
mod connect;
mod explain;
mod identity;
mod node;
mod stream;
pub mod trust;
mod unreached;

pub use address::NodeAddress;
pub use call::{CallError, CertificateProblem};
pub use connect::{ConnectOptions, connect};
pub use identity::{Claims, ClientIdentity, IdentityError};
pub use node::{Messages, NodeClient};
pub use trust::Trust;
pub use unreached::ConnectError;
