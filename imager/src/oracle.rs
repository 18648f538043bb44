//! Other people's tools that read what we write, for tests: a second opinion, never a part of imager.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

/// Any of these set: nothing may be skipped.
const REQUIRED: [&str; 2] = ["CI", "SKERRY_TEST_IMAGES"];

/// What a tool says; none: it is not installed, and the reason was printed. Where `CI` or `SKERRY_TEST_IMAGES` is set, that is a failure.
pub(crate) fn ask(command: &mut Command) -> Option<Output> {
    ask_about(command, &[])
}

/// The same for a tool that reads its standard input.
pub(crate) fn ask_about(command: &mut Command, input: &[u8]) -> Option<Output> {
    match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(mut child) => {
            // Whoever does not read it closes it.
            let _ = child.stdin.take().expect("piped").write_all(input);
            Some(child.wait_with_output().expect("ended"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(&format!("{} is not installed; `make setup` installs it", command.get_program().display()));
            None
        }
        Err(error) => panic!("cannot run {}: {error}", command.get_program().display()),
    }
}

/// Says why a test is skipped, or fails it where nothing may be.
pub(crate) fn skip(reason: &str) {
    assert!(!required(|name| std::env::var_os(name)), "must not be skipped here: {reason}");
    eprintln!("skipped: {reason}");
}

fn required(environment: impl Fn(&str) -> Option<OsString>) -> bool {
    REQUIRED.into_iter().any(|name| environment(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_may_be_skipped_is_told_by_the_environment() {
        for (name, value, expected) in
            [("CI", "true", true), ("SKERRY_TEST_IMAGES", "x", true), ("CI", "", false), ("HOME", "x", false)]
        {
            assert_eq!(required(|asked| (asked == name).then(|| value.into())), expected, "{name}={value}");
        }
    }

    #[test]
    fn a_tool_that_answers_is_heard() {
        let output = ask_about(&mut Command::new("cat"), b"hello").expect("every system has cat");
        assert_eq!(output.stdout, b"hello");
    }
}
