//! What the VM tests, the demo and the benchmarks share: a harness that boots images in an emulator, the images and fleets
//! they need, and a plain, blocking view of a node's API.
//!
//! Nothing here ships on a device, and nothing here reaches a host outside the machine it runs on.

pub mod cprogram;
pub mod floor;
pub mod harness;
pub mod oci;
pub mod places;
mod sys;
pub mod uki;
