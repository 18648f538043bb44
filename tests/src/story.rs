//! A VM test tells a story: one machine, steps in order, each named after what it proves. A step that fails names itself.

use std::fmt::Display;
use std::time::Instant;

/// Runs one step; ends the test with the step's name and the whole chain of causes when it fails.
///
/// # Panics
/// When the step fails: that is how a test says so.
pub fn step<T>(name: impl Display, body: impl FnOnce() -> anyhow::Result<T>) -> T {
    eprintln!("   … {name}");
    let start = Instant::now();
    match body() {
        Ok(value) => {
            eprintln!("  ok {name} ({:.1} s)", start.elapsed().as_secs_f32());
            value
        }
        Err(error) => panic!("failed: {name}: {error:#}"),
    }
}
