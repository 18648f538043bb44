//! PID 1 of a Skerry device: boot, devices, volumes, network, configuration, services and the unix-socket API.
//!
//! Everything hard is split into a pure plan and a thin executor; `boot` is the one table that says what happens when.

pub mod api;
pub mod boot;
pub mod clock;
pub mod config;
pub mod console;
pub mod devices;
pub mod disk;
pub mod early;
pub mod hub;
pub mod image_file;
pub mod images;
pub mod install;
pub mod inventory;
pub mod logging;
pub mod modules;
mod mountinfo;
pub mod network;
pub mod node;
pub mod power;
pub mod ram;
pub mod services;
pub mod state;
mod sys;
pub mod sysctl;
#[cfg(test)]
mod testing;
mod unix_channel;
pub mod verity;
