//! What tests share: a test that cannot run here is skipped aloud, and nowhere that skipping would hide something.

use std::ffi::OsString;

/// Any of these set: nothing may be skipped.
const REQUIRED: [&str; 2] = ["CI", "SKERRY_TEST_IMAGES"];

/// Says why a test is skipped, or fails it where nothing may be.
pub(crate) fn skip(reason: &str) {
    assert!(!required(|name| std::env::var_os(name)), "must not be skipped here: {reason}");
    eprintln!("skipped: {reason}");
}

fn required(environment: impl Fn(&str) -> Option<OsString>) -> bool {
    REQUIRED.into_iter().any(|name| environment(name).is_some_and(|value| !value.is_empty()))
}

#[test]
fn where_nothing_may_be_skipped_is_told_by_the_environment() {
    for (name, value, expected) in
        [("CI", "true", true), ("SKERRY_TEST_IMAGES", "x", true), ("CI", "", false), ("HOME", "x", false)]
    {
        assert_eq!(required(|asked| (asked == name).then(|| value.into())), expected, "{name}={value}");
    }
}
