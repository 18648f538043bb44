//! HTTP/1.1, read-only: what UEFI HTTP boot and iPXE load from. Two methods, the planned files, single ranges; everything else is refused by name.

pub mod body;
pub mod range;
pub mod receipt;
pub mod respond;
pub mod server;
