//! Two devices in the field, the hub they call, and the operator's desk: the whole way from stamping to removal, for the test and for the demo.

mod desk;
mod site;
mod story;

pub use desk::{Desk, Ran};
pub use site::Site;
pub use story::{Told, tell};
