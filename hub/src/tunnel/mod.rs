//! Tunnels: an operator's connection to a device, carried inside the device's own call to the hub.
//!
//! The hub carries bytes it cannot read, for people it knows, and writes down who opened what when. What an operator may do on a device is
//! the device's to judge, by the client certificate inside.

mod endpoint;
mod holders;
mod pipe;
mod socket;

pub use endpoint::{Tunnel, TunnelError, Tunnels};
pub use holders::Enough;
pub use pipe::{OperatorEnd, SessionEnd, pipe};
pub use socket::Carried;
pub(crate) use socket::{MAX_MESSAGE, carry_out};
