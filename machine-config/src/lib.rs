//! The machine configuration: schema, strict parsing, signatures, comparison. Pure: no I/O, no clock, no randomness.

pub mod disk;
pub mod schema;
pub mod types;
