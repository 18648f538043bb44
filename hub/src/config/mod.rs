//! Signed configurations at the hub: which it takes, which it offers to a device, and the draft for a device that takes another's place. Pure.
//!
//! The hub holds no signing key. It judges with the device's own function ([`machine_config::judge()`]), so that what it takes is what devices
//! take; whatever it says, the device judges again.

mod choose;
mod draft;
mod upload;

pub(crate) use choose::AFTER_REFUSAL;
pub use choose::candidates;
pub use draft::{DraftError, draft};
pub(crate) use upload::would_take;
pub use upload::{UploadError, check_devices, describe, judge_upload};
