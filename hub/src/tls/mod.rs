//! The hub's side of TLS: one key that devices pin, and whatever certificate browsers are to see.
//!
//! TLS 1.3 only, one provider, nothing resumed for devices: each connection proves itself anew. No client certificate is asked for; devices
//! prove their key inside the channel.

mod browser;
mod config;
mod key;
mod pinned;

pub use browser::{BrowserError, browser_certificate};
pub use config::{Caller, Certificates, REPLICA_ALPN, TlsConfigs, TlsError, WebCertificate};
pub use key::{HubKey, HubKeyError};
pub use pinned::pinned_client;
