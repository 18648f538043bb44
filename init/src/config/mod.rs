//! The configuration of this device: where it comes from, what is accepted, and what apid serves with because of it.
//!
//! `acceptor` judges and records, `task` owns it for the life of the device, `tls` makes the certificates.

mod acceptor;
mod task;
mod tls;

pub use acceptor::{Acceptor, Facts, Resumed};
pub use task::{AcceptorSlot, acceptor_slot, run};
pub use tls::{Leaf, TlsError, settings};
