//! PID 1 of a Skerry device: boot, devices, volumes, network, configuration, services and the unix-socket API.
//!
//! Everything hard is split into a pure plan and a thin executor; `boot` is the one table that says what happens when.

pub mod node;
