//! Builds, checks and inspects Skerry's disk images: components → trees → runtime image, UKI, disk. Never needs root, mounts or loop devices.

pub mod bmap;
pub mod board;
pub mod build;
pub mod cache;
pub mod check;
pub mod cli;
pub mod components;
pub mod draft;
pub mod flash;
pub mod format;
pub mod image;
pub mod inspect;
pub mod label;
#[cfg(test)]
mod oracle;
pub mod parallel;
pub mod progress;
pub mod sbom;
pub mod seed_place;
pub mod serve;
mod signed;
pub mod sparse;
pub mod stamp;
mod sys;
pub mod tree;
pub mod unfold;
