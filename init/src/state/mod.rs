//! STATE: what makes this device this device, on a small file system of its own.
//!
//! Every file is replaced whole and durably (`durable`); what cannot be read is an error, never quietly made anew.

mod durable;
mod foreign;
mod identity;
mod store;

pub use durable::{DurableError, replace};
pub use foreign::{Foreign, ForeignError, look_into};
pub use identity::{Identity, IdentityError};
pub use store::{AcceptedConfig, Store, StoreError};
