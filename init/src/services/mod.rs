//! Services: what they are, when they run, and the processes they are.
//!
//! `definitions` turns the configuration into files and specs; `machine` decides without I/O; `supervisor` waits for what happens and
//! carries the machine's decisions out with `spawn`, `cgroup`, `readiness`, `output` and `reap`.

mod cgroup;
pub mod definitions;
pub mod machine;
mod output;
mod readiness;
mod reap;
mod spawn;
pub mod spec;
mod supervisor;
mod watch;

pub use cgroup::{CgroupError, Cgroups, Usage};
pub use output::{Line, LogReader, LogRing, Stream};
pub use spawn::ChildSetup;
pub use supervisor::{RestartError, Snapshot, Supervisor, Surroundings};
