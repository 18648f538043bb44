//! A value that is never shown: not by `Debug`, not by `Display`, not by serialisation.
//!
//! Serialising writes the mask, so that whoever forgets a secret somewhere leaks nothing. The few places that must write the value
//! itself (a file for the operator, the SEED) say so with [`exposed`].

use std::cell::Cell;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

thread_local! {
    static EXPOSED: Cell<bool> = const { Cell::new(false) };
}

/// A value that is never shown: `Debug`, `Display` and serialisation give [`Secret::MASK`] instead.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What stands where the value would.
    pub const MASK: &'static str = "********";

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if is_exposed() { &self.0 } else { Self::MASK })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

/// Whether secrets are written as they are just now: only inside of [`exposed`].
pub(crate) fn is_exposed() -> bool {
    EXPOSED.get()
}

/// Runs `serialise` with secrets written as they are. The effect ends with the call, also when it panics.
pub(crate) fn exposed<T>(serialise: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            EXPOSED.set(self.0);
        }
    }
    let _restore = Restore(EXPOSED.replace(true));
    serialise()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(secret: &Secret) -> String {
        serde_json::to_string(secret).expect("a string is JSON")
    }

    #[test]
    fn a_secret_leaks_through_no_way_of_showing_it() {
        let secret = Secret::from("hunter2".to_owned());
        for shown in [format!("{secret}"), format!("{secret:?}"), json(&secret)] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn exposure_ends_with_the_call_even_after_a_panic() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(exposed(|| json(&secret)), "\"hunter2\"");
        let _ = std::panic::catch_unwind(|| exposed(|| panic!("on purpose")));
        assert_eq!(json(&secret), "\"********\"");
    }
}
