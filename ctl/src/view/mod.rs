//! What the node's answers look like: for programs as JSON or YAML with stable names, for people as tables.
//!
//! The field names are those of the protobuf JSON form. A program gets every string exactly; a person gets control characters
//! escaped, because a log line must not be able to drive the operator's terminal.

mod boot;
mod config;
mod hardware;
mod load;
mod mirror;
mod service;
mod status;
mod table;
mod units;

use serde::Serialize;

pub(crate) use boot::BootTimes;
pub(crate) use config::{Applied, Change, HeldConfig, changes_table};
pub(crate) use hardware::Hardware;
pub(crate) use load::{Containers, Disks, Links, Mounts, Processes, Resources};
pub(crate) use mirror::Mirror;
pub(crate) use service::{Event, KmsgLine, LogLine, Services};
pub(crate) use status::{Status, Version};
pub(crate) use table::{Fields, clean, table};
pub(crate) use units::bytes;

/// Something that can be shown in every format.
pub(crate) trait View: Serialize {
    /// For a person; ends with a newline unless empty.
    fn text(&self) -> String;
}
