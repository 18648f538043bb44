//! The warehouse's network boot server: machines on one bench network start Skerry's RAM form, each with its own SEED, by the MAC address in an
//! inventory. It stands beside a DHCP server and hands out no address itself; it serves only what it planned, only on the interface it was given.
//!
//! [`plan()`](plan::plan) decides what a machine is answered, [`names`] what files there are, [`tftp::transfer`] how one goes over the wire; the
//! modules with sockets ([`proxy`], [`tftp::server`], [`http::server`]) decide nothing.
//!
//! A MAC address is no proof of identity. Whoever is on the bench network can pretend to be another machine and be given its SEED, the join token
//! included: that is why tokens are used once and enrolment is approved. Network boot belongs on a network of its own.

mod aside;
pub mod client;
pub mod dhcp;
pub mod event;
pub mod http;
pub mod image;
pub mod interface;
pub mod ledger;
pub mod minted;
pub mod names;
pub mod neighbour;
pub mod places;
pub mod plan;
pub mod program;
pub mod proxy;
pub mod server;
pub mod stock;
pub mod tftp;
pub mod warehouse;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
