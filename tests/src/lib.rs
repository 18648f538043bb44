//! What the VM tests, the demo and the benchmarks share: a harness that boots images in an emulator, the images and fleets
//! they need, and a plain, blocking view of a node's API.
//!
//! Nothing here ships on a device, and nothing here reaches a host outside the machine it runs on.

pub mod bootfiles;
pub mod bootserver;
pub mod cold;
pub mod config;
pub mod cprogram;
pub mod device;
pub mod esp;
pub mod field;
pub mod figure;
pub mod filesystem;
pub mod fleet;
pub mod floor;
pub mod greeting;
pub mod harness;
pub mod http;
pub mod images;
pub mod initramfs;
pub mod lab;
pub mod medium;
pub mod modules;
pub mod network;
pub mod node;
pub mod oci;
pub mod picfg;
pub mod places;
pub mod postgres;
pub mod raspberry;
pub mod runtime_image;
pub mod simulator;
pub mod standin;
pub mod story;
mod sys;
pub mod uki;
