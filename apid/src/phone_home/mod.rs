//! Phone home: the one connection that a device makes by itself, to the hub it was told of, and what travels in it.
//!
//! Sans-IO where something is decided ([`machine`], [`backoff`], the credit of tunnels), and a driver that carries it out ([`driver`]).
//! The driver is generic over [`Node`] (the device) and [`Dial`] (the network): tests and simulators drive the same code.
//!
//! What is refused here:
//! - any hub whose key is not the pinned one, whatever its name, its certificate's dates or who signed it; redirects; TLS before 1.3; a
//!   proxy with another key than the one it is pinned to;
//! - any message out of order, above 320 KiB, or of an unknown kind: it ends the session, and the next begins after a back-off;
//! - configurations and tunnels before the hub has admitted the device, and more than one configuration a second;
//! - more tunnels than eight, and bytes in one beyond the credit given;
//! - signing: the identity key is init's, which signs nothing but the statement of `api::hub`, for the hub it has in its own settings;
//! - judging: a configuration goes to init as it came, and its refusal goes back with its code.
//!
//! No hub configured: no attempt, no default host.

pub mod backoff;
mod call;
pub mod connect;
pub mod driver;
pub mod feed;
mod inventory;
pub mod machine;
mod node;
mod outbox;
mod pin;
mod proxy;
pub mod settings;
mod tls;
mod tunnel;

pub(crate) use connect::Chain;
pub use connect::{Dial, Io, Tcp};
pub use driver::run;
pub use feed::{EventQueue, Feed};
pub use node::{HubReport, Node};
pub use pin::Pin;
pub use settings::{Address, HubSettings, Proxy, Target};
