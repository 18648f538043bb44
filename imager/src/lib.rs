//! Builds, checks and inspects Skerry's disk images: components → trees → runtime image, UKI, disk. Never needs root, mounts or loop devices.

pub mod board;
pub mod components;
pub mod cache;
pub mod image;
pub mod progress;
pub mod tree;
