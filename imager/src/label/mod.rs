//! Labels: what is printed and stuck on a device, so that whoever holds it knows which one it is and can claim it. A label says what anybody may read:
//! never a join token, a key or a configuration.
//!
//! [`content`] is what stands on one, [`select`] which devices get one, [`layout`] where things stand, [`svg`] and [`pdf`] the files. The same content
//! gives the same bytes.

pub mod content;
pub mod font;
pub mod layout;
pub mod page;
pub mod pdf;
pub mod qr;
pub mod select;
pub mod size;
pub mod svg;

#[cfg(test)]
mod tests;
