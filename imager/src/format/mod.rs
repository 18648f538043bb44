//! The forms a disk image is handed out in. Each is planned from the raw image and written as one stream, with a block map, a checksum and a list of
//! what it holds beside it.
//!
//! The raw image is the only thing that is built; every other form holds its bytes. The same image gives the same bytes in every form.

mod compressed;
pub(crate) mod cpio;
pub(crate) mod fat;
mod iso;
pub mod mapped;
mod pieces;
pub(crate) mod pxe;
mod qcow2;
mod ram;
pub mod shape;
mod sink;
pub mod source;
pub mod target;

pub use shape::Shape;
pub use source::{Source, SourceError};
pub use target::{Target, TargetError, Written};
