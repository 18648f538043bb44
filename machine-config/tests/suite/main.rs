//! Tests of the library from outside: attacks as files, the examples, and what must hold for any input.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod attacks;
mod examples;
mod fleet;
mod properties;
