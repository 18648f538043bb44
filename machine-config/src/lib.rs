//! The machine configuration: schema, strict parsing, signatures, judgement, comparison. Pure: no I/O, no clock, no randomness.
//!
//! [`judge()`] is the only way from bytes to a configuration a device may act on. [`parse()`] reads a document nobody has signed yet, for
//! the tools of the person who writes it.

mod compare;
pub mod disk;
mod envelope;
mod flat;
mod fleet;
mod identity_seed;
mod json_schema;
mod judge;
mod key;
mod limits;
mod parse;
mod path;
mod pending;
pub mod ram_form;
mod reference;
mod refusal_code;
pub mod schema;
mod secret;
pub mod seed;
mod semantics;
mod sign;
mod text;
pub mod types;
mod verify;
mod write;

pub use compare::{Change, Effect, compare};
pub use ed25519_dalek::{SigningKey, VerifyingKey};
pub use envelope::EnvelopeError;
pub use fleet::{FleetError, FleetTrust};
pub use identity_seed::IdentitySeed;
pub use json_schema::json_schema;
pub use judge::{Accepted, DeviceFacts, Refusal, Trust, judge, judge_for_fleet};
pub use key::{KeyId, Keyring, PublicKey};
pub use parse::{MAX_DEPTH, MAX_NODES, ParseError, ParseProblem, Position, locate, parse};
pub use pending::not_yet_in_effect;
pub use reference::reference;
pub use refusal_code::RefusalCode;
pub use schema::MachineConfig;
pub use semantics::{PLACEHOLDER_SERIALS, Problem, SERVICES, SemanticError, check_hub, check_semantics};
pub use sign::{SIGNATURE_CONTEXT, SignError, replace_signature, sign};
pub use text::MAX_CONFIG_BYTES;
pub use types::{DeviceId, Digest};
pub use verify::{Document, Unverified, Verified, VerifyError};
pub use write::{mask, write};
