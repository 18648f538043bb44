//! The API daemon: everything of a device that faces the network: what listens, and what phones home ([`phone_home`]).
//!
//! It ends TLS, reads the caller's role from the client certificate, asks the one method table whether the call is allowed,
//! and forwards allowed calls to init as they came. It decodes no operator message, holds no file open, and keeps no secret
//! but the leaf key that init hands it in memory. It runs without privileges.

pub mod daemon;
pub mod forward;
mod home;
pub mod local;
pub mod peer;
pub mod phone_home;
pub mod places;
pub mod policy;
pub mod server;
pub mod settings;
pub mod tls;
