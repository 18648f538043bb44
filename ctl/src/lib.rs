//! `skerryctl` as a library: fleets and their keys, hubs, and the command itself.
//!
//! What it refuses to do: send anything to a device whose id nobody vouched for or to a hub that is another one, overwrite a key, or leave half a file behind.

pub mod cli;
pub mod context;
mod explained;
pub mod failure;
mod files;
pub mod fleet;
pub mod hub;
mod output;
mod view;

pub use files::FileError;
