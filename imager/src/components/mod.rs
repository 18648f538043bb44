//! Components: what images are made of. Locked, fetched, checked, taken apart and put together into trees.
//!
//! `components.toml` ([`manifest`]) says what is taken, `components.lock` ([`lockfile`]) which exact packages. [`lock::run`] writes the lock from signed
//! archives, [`fetch::run`] fills the cache, [`assemble::run`] makes trees of it. Nothing here is unpacked to a folder, and nothing is used unhashed.

pub mod arch;
pub mod archive;
pub mod assemble;
pub mod cache;
pub mod closure;
pub mod control;
mod copy;
pub mod crates;
pub mod deb;
pub mod digest;
pub mod elf;
pub mod extract;
pub mod fetch;
pub mod gpgv;
pub mod http;
pub mod index;
pub mod kmod;
pub mod libraries;
pub mod lock;
pub mod lockfile;
pub mod manifest;
pub mod mirror;
pub mod modules;
pub mod options;
pub mod place;
pub mod release;
pub mod select;
#[cfg(test)]
pub(crate) mod testing;
pub mod version;

pub use mirror::MirrorChoice;
pub use select::Wishes;
