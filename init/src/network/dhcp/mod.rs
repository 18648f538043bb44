//! DHCPv4 (RFC 2131): a client whose decisions are a state machine without I/O, and the thin task that carries them out.
//!
//! It asks for ever and gives up never; it sets no address itself, but reports leases to the network manager. It does not
//! probe for duplicate addresses before use (that costs seconds at every boot) and does not release a lease on shutdown, so
//! that a device gets its address back.

mod client;
mod frame;
mod lease;
mod machine;
mod message;
mod options;
mod socket;

pub use client::{Client, Report, Reports};
pub use lease::{ClasslessRoute, Lease, LeaseError};
pub use machine::{Action, Event, Machine, Path, Settings, Withdrawal};
pub use message::{Message, MessageError, MessageType};
pub use options::{Code, Options};
pub use socket::Link;

/// UDP port of servers and relays.
const SERVER_PORT: u16 = 67;

/// UDP port of clients.
const CLIENT_PORT: u16 = 68;
