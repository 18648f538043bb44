//! Putting a system that runs from RAM on a disk, as `machine.install` of the signed configuration says.
//!
//! `settle` says when all disks are there, `facts` looks at them, `blank` at those without a known mark, `installed` into an installation, `choose`
//! picks one or says why none, `plan` lists every write, `write` carries the list out and reads it back.
//! What makes a cut harmless is the plan's order: see [`Plan`]. Nothing here runs but from RAM, and nothing is written to a disk that the
//! choice did not allow.

mod blank;
mod choose;
mod content;
mod facts;
mod glob;
mod installed;
mod plan;
mod settle;
mod write;

pub use choose::{Choice, Installer, Refusal, choose, describe};
pub use content::Content;
pub use facts::{Access, DiskFacts, disk_names, look};
pub use installed::{Installed, StateSeen};
pub use plan::{Piece, Plan, PlanError, Source, Stage, plan};
pub use settle::{Ending, Settling, Verdict};
pub use write::{Progress, WriteError, install};
