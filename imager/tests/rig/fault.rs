//! What is wrong with a drive.

use std::time::Duration;

/// A fault. Offsets and amounts are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The block that holds this byte cannot be written.
    BadWrite {
        /// The byte.
        at: u64,
    },
    /// The block that holds this byte cannot be read.
    BadRead {
        /// The byte.
        at: u64,
    },
    /// What is written over this byte is said to be written and is not.
    Forgets {
        /// The byte.
        at: u64,
    },
    /// One bit of this byte reads wrongly.
    Flips {
        /// The byte.
        at: u64,
    },
    /// It claims more than it has: addresses wrap around.
    Wraps {
        /// What it has.
        capacity: u64,
    },
    /// It claims more than it has: what lies beyond is thrown away and reads as zeros.
    Drops {
        /// What it has.
        capacity: u64,
    },
    /// Once it took so much, it takes no more and says so by taking less.
    Short {
        /// What it takes.
        after: u64,
    },
    /// Once it took so much, it says that it is full.
    Full {
        /// What it takes.
        after: u64,
    },
    /// Once it took so much, it is not there any more.
    Gone {
        /// What it takes.
        after: u64,
    },
    /// Once it took so much, whatever is asked of it fails at once: its connection is cut.
    Pulled {
        /// What it takes.
        after: u64,
    },
    /// Once it took so much, the kernel takes the drive away, and what is asked of it fails as on a bad medium: a pulled USB drive.
    Unplugged {
        /// What it takes.
        after: u64,
    },
    /// Once it took so much, writes are never answered.
    Hangs {
        /// What it takes.
        after: u64,
    },
    /// Every write takes this long.
    Slow {
        /// How long.
        by: Duration,
    },
    /// Every read takes this long.
    SlowToRead {
        /// How long.
        by: Duration,
    },
}
