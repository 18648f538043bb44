//! Stamping: a base image and a list of devices become one image per device, each differing from the base only inside SEED, each with a signed
//! manifest. Nothing is built, nothing of the base is changed.
//!
//! [`inventory`] reads the list, [`plan()`](plan::plan) decides what every SEED holds, [`press`] makes SEED and manifest of one device,
//! [`mod@write`] carries it out, [`mod@verify`] proves the result.

pub mod base;
pub mod claim;
pub mod differences;
pub mod hash;
pub mod identity;
pub mod inventory;
pub mod manifest;
pub mod plan;
pub mod press;
pub mod ram;
pub mod roles;
pub mod station;
pub mod verify;
pub mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
