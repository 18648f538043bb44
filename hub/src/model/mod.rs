//! The hub's nouns: devices, tokens, fleets, configurations, rules, people, and who did what when. Plain data, as the REST interface shows it
//! (JSON, camelCase). Nothing here reads a clock, a database or the network.

mod actor;
mod audit;
mod config;
mod device;
mod event;
mod expected;
mod filter;
mod fleet;
mod inventory;
mod label;
mod listed;
pub mod people;
mod policy;
mod replica;
mod rule;
mod status;
pub mod text;
mod time;
mod token;

pub use actor::{Actor, By};
pub use audit::{AuditEntry, AuditFilter};
pub use config::{AssignTo, AssignToError, Assignment, Config, Delivery, DeliveryState, Rollout};
pub(crate) use device::BY_RULE;
pub use device::{Device, DeviceState, Hardware, Release};
pub use event::DeviceEvent;
pub use expected::{Expected, ExpectedKey, Source};
pub use filter::{DeviceFilter, MAX_PAGE, Overview, Page};
pub use fleet::{Fleet, Station};
pub use inventory::{Inventory, InventoryDisk, InventoryNic};
pub use label::{Label, LabelError, Labels, check_groups, check_labels};
pub use policy::{Policy, Strangers};
pub use replica::{Replica, Stream};
pub use rule::{Rule, RuleKind, RuleOutcome};
pub use status::{Mode, PhaseState, Status, Use};
pub use time::Time;
pub use token::{Binding, Token};

pub(crate) use listed::words as listed_words;
