//! What must outlive the database: which devices were removed, which join tokens are used up or revoked, and which API tokens are revoked. A
//! database is restored from a copy of yesterday; a removed device must not come back with it, and a token that was used or that leaked must not
//! be good again.
//!
//! It is a file in the hub's folder, beside the database and no part of it: one line per fact, only ever added to, taken from the audit, which it
//! follows within a second. At each start its facts are carried into the database. It holds no secret and gives nobody any right: it can only take
//! away.

mod content;
mod file;
mod keep;
mod line;
#[cfg(test)]
mod tests;

pub use file::{Journal, JournalError};
pub use keep::{BeginError, begin, keep};
pub use line::{Fact, Line};
