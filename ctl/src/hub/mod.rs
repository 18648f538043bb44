//! Talking to a hub: who it must be, how it is asked, what its refusals mean, and the connection to a device that it carries.
//!
//! The hub is trusted with little: it may say which devices there are, and carry bytes. Who is at the end of a connection to a device is judged by
//! the device's own key ([`client::trust`]), never by the hub's word alone.

mod answer;
mod error;
mod fetch;
mod http;
mod judge;
mod link;
pub(crate) mod login;
mod lookup;
pub(crate) mod routes;
mod tunnel;
mod url;

pub(crate) use answer::{Shown, Text};
pub use error::HubError;
pub(crate) use fetch::Arriving;
pub use http::{Body, Hub};
pub use judge::{HubTrust, HubTrustError};
pub(crate) use lookup::{Device, Page, device_named, devices};
pub use tunnel::Tunnel;
pub use url::HubUrl;
