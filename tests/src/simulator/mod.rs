//! Devices without hardware: the real client of a device, thousands of them in one process, over real sockets.
//!
//! What is simulated is what init does (the key, the judgement, the status) and the device's API, of which only `Version` is there. The client, the
//! judgement of configurations and everything on the wire are the device's own code.

mod api;
mod desk;
mod device;
mod loopback;
mod program;
mod standing;
mod swarm;
pub mod takeover;

pub use desk::{admit_all, host};
pub use device::{Make, SimulatedDevice};
pub use loopback::{Loopback, Traffic};
pub use program::{HubProgram, ProgramOptions};
pub use standing::{Standing, Tally};
pub use swarm::{Swarm, key};
