//! The hub: what devices phone home to. It knows which devices a fleet has, approves them, hands each the configuration that was signed for
//! it, and carries operators' connections to them.
//!
//! It holds no key that a device obeys. Whoever takes it over can delay devices and see what they report; he can neither configure nor read
//! into them.

pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod enrol;
pub mod expected;
pub mod images;
pub mod journal;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod reader;
pub mod replica;
pub mod rest;
pub mod session;
pub mod store;
pub mod tls;
pub mod tokens;
pub mod tunnel;
pub mod web;

pub use model::people;
