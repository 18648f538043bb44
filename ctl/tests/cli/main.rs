//! `skerryctl` as its users meet it: the binary, its exit codes and messages, and a node of this process's own that speaks the
//! device's side of TLS.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "modules of one test binary")]

mod config;
mod fake;
mod fake_hub;
mod fleet;
mod hub;
mod node;
mod real_hub;
mod run;
mod trust;
mod via_hub;
