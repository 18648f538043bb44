//! Flashing: one image, or one per drive, written to many drives at once, read back and proved. A drive that fails does so alone, with its reason.
//!
//! [`facts`] looks at drives, [`image`] at images, [`guard`] and [`mod@plan`] decide, [`engine`] carries out over [`target`], [`outcome`] is what came of each.

pub mod buffer;
pub mod carried;
pub mod clear;
pub mod device;
mod drive;
pub mod engine;
pub mod facts;
mod feed;
pub mod guard;
pub mod image;
pub mod lanes;
pub mod outcome;
pub mod pieces;
pub mod plan;
pub mod probe;
mod proof;
mod readback;
pub mod record;
mod source;
pub mod status;
pub mod stop;
pub mod target;
#[cfg(test)]
mod testing;
