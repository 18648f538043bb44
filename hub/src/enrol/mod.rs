//! Enrolment: whether a device that proved its key is admitted, waits, or is refused. [`decide()`] is pure: everything it goes by is in
//! [`Facts`], everything that follows is in [`Decision`]. The store reads the one and writes the other inside one transaction.
//!
//! What a device says of itself (serial number, MAC address, name) is a claim: it leads to a place in a manifest or a rule, but admits nobody
//! by itself. A person, a join token together with a rule, or a key that was made beforehand does.

mod claims;
mod decide;
mod recognise;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transition;
mod verdict;

pub(crate) use claims::release;
pub use claims::{Attempt, Claims};
pub use decide::{Crowd, Decision, Facts, Note, TokenFact, decide};
pub(crate) use decide::{HARDWARE_CHANGED, is_vouched_for, says_other_hardware};
pub use recognise::Recognised;
pub use transition::Act;
pub use verdict::{Verdict, refusal_of};
