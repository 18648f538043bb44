//! Images to download: those in the hub's folder as they are, and stamped on the way: the base file, with SEED's bytes in their place.
//!
//! Images that were stamped already, and whatever else lies in the folder, are nobody's to have: join tokens and keys may be in them.
//!
//! Nothing is built and nothing copied. A stamped image is not kept: it is the base file and some bytes that are made again at each request, so that
//! a download can go on where it broke off, at whichever of the hub's processes.

mod answer;
mod download;
mod folder;
mod hash;
mod range;
mod stamp;

#[cfg(test)]
#[path = "../../tests/rest/image.rs"]
#[allow(unreachable_pub, reason = "a test program's module")]
mod sample;

pub use answer::{Served, answer};
pub use download::{Download, DownloadError, DownloadKey, NewDownload};
pub use folder::{Image, ImageError, Images};
