//! Boots images in QEMU and watches them: firmware, accelerator, disk, console, QMP, and an end that leaves no process behind.
//!
//! It starts and ends only emulators of its own, reaches no network but the guest's, and never guesses that something is ready:
//! every wait is for a named thing, bounded by a multiple of the time it usually takes.

pub mod accelerator;
pub mod blame;
pub mod boot;
pub mod console;
pub mod disk;
pub mod emulator;
pub mod fetched;
pub mod firmware;
pub mod hardware;
pub mod logs;
pub mod machine;
pub mod patience;
pub mod qmp;

pub use accelerator::Accelerator;
pub use boot::{Booted, boot};
pub use console::Console;
pub use disk::Disk;
pub use emulator::{DirectKernel, Guest};
pub use firmware::Firmware;
pub use hardware::{Chassis, DiskBus, NetworkCard};
pub use machine::Machine;
pub use patience::Patience;
