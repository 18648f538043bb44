//! The REST interface and signing in, against a whole hub: who may do what, what every refusal says, images byte for byte, and a real identity
//! provider.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test program exports nothing, and says what it expects by failing")]

mod devices;
mod http;
mod image;
mod images;
mod oidc;
mod openapi;
mod pages;
mod people;
mod refusals;
mod roles;
mod sessions;
