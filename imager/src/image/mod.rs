//! From trees and binaries to a bootable disk image. Pure plans (layout, GUIDs, command line) beside thin writers.

pub mod boot;
pub mod compress;
pub mod digest;
pub mod disk;
pub mod esp;
pub(crate) mod fat;
pub mod gpt;
pub mod initramfs;
pub mod layout;
pub mod output;
pub mod pe;
pub mod release;
pub mod rootfs;
pub mod squashfs;
pub mod uki;
pub mod verity;
pub mod window;
