//! The port: accepts, bounds what one caller can hold, ends TLS, and tells devices from everyone else by what they offer in their greeting.
//!
//! A caller costs nothing but a bounded place until TLS is done, and a device costs nothing more until its key is proven. Callers beyond the
//! bounds are hung up on at once; nobody waits in a queue.

mod device;
mod door;
mod limits;
mod peer;
mod places;
mod visit;
mod web;

pub use door::{Door, Parts, serve, serve_plain};
pub use limits::Limits;
pub use peer::Peer;
pub use visit::Visit;
pub use web::Lasting;

pub(crate) use places::neighbour;
