//! How a command fails: an exit code that scripts may rely on, one line that says what, and one that says what to do.
//!
//! Every error type of this crate answers [`Explain`]; nothing here decides what went wrong.

use std::error::Error;
use std::fmt;

/// Exit codes of `skerryctl`. They are part of its interface: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something else failed: a file could not be read, the node reported an internal error.
    Failure = 1,
    /// The command line is wrong or says too little.
    Usage = 2,
    /// The node could not be reached, or did not answer in time.
    Unreachable = 3,
    /// A configuration was refused, by the node or by a check made here.
    Refused = 4,
    /// The client certificate is missing, expired, of another CA, or its role is too low.
    Permission = 5,
    /// The thing asked for by name does not exist.
    NotFound = 6,
    /// The device is not the expected one, or not known yet.
    Identity = 7,
    /// The node cannot do this in its present state, e.g. in maintenance.
    NotNow = 8,
}

impl Exit {
    /// The number the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word for programs that read errors as JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Permission => "permission",
            Self::NotFound => "not-found",
            Self::Identity => "identity",
            Self::NotNow => "not-now",
        }
    }
}

/// An error that knows its exit code and what the person at the keyboard can do about it.
pub trait Explain: Error {
    /// The exit code it ends the command with.
    fn exit(&self) -> Exit;

    /// What to do, as one or more lines; none when the message says it already.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The stable code of a refused configuration, e.g. `signature`.
    fn refusal_code(&self) -> Option<&str> {
        None
    }

    /// Line and column of what is wrong in a file, counted from 1.
    fn position(&self) -> Option<(usize, usize)> {
        None
    }
}

/// Any error of this crate, on its way to the person.
#[derive(Debug)]
pub struct Failure(Box<dyn Explain + Send + Sync>);

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// The error inside.
    pub fn explain(&self) -> &dyn Explain {
        self.0.as_ref()
    }

    /// The message with every cause that the layers below add, on one line.
    pub fn message(&self) -> String {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let line = error.to_string();
            // Some libraries repeat their cause in their own message; saying it twice helps nobody.
            if !text.ends_with(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// A command line that is complete for clap but not for the command.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// What to type instead.
    pub hint: String,
}

impl Explain for UsageError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read trust.json")]
    struct Layer(#[source] std::io::Error);

    impl Explain for Layer {
        fn exit(&self) -> Exit {
            Exit::Failure
        }
    }

    #[test]
    fn the_message_carries_every_cause_once() {
        let failure = Failure::from(Layer(std::io::Error::other("disk is gone")));
        assert_eq!(failure.message(), "cannot read trust.json: disk is gone");
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let all = [
            (Exit::Failure, 1, "failure"),
            (Exit::Usage, 2, "usage"),
            (Exit::Unreachable, 3, "unreachable"),
            (Exit::Refused, 4, "refused"),
            (Exit::Permission, 5, "permission"),
            (Exit::NotFound, 6, "not-found"),
            (Exit::Identity, 7, "identity"),
            (Exit::NotNow, 8, "not-now"),
        ];
        for (exit, code, word) in all {
            assert_eq!((exit.code(), exit.word()), (code, word));
        }
    }
}
