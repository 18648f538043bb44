//! Flashing: one image, or one per drive, written to many drives at once, read back and proved. A drive that fails does so alone, with its reason.
//!
//! [`outcome`] is what came of each drive.

pub mod outcome;
pub mod record;
