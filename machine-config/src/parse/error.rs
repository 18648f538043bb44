//! What is wrong with a document, where, and what to do about it.

use super::outline::{MAX_DEPTH, MAX_NODES, Position};
use crate::secret::Secret;
use crate::text::MAX_CONFIG_BYTES;

/// Longest source line shown, in characters.
const EXCERPT_CHARS: usize = 160;

/// Keys whose values are not repeated in an excerpt.
const SECRET_KEYS: [&str; 2] = ["token", "password"];

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// More than [`MAX_CONFIG_BYTES`].
    #[error("the document has {bytes} bytes, more than {MAX_CONFIG_BYTES}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the document is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Bytes before the first wrong one.
        offset: usize,
    },
    /// A character that cannot be seen, or that changes how others are seen.
    #[error("the document contains {name} (U+{code:04X})")]
    Character {
        /// Its code point.
        code: u32,
        /// What it is.
        name: &'static str,
    },
    /// Nothing in it.
    #[error("the document is empty")]
    Empty,
    /// Not YAML.
    #[error("this is not YAML: {message}")]
    Syntax {
        /// The scanner's words.
        message: String,
    },
    /// `&name`.
    #[error("anchors (`&name`) are not allowed")]
    Anchor,
    /// `*name`.
    #[error("aliases (`*name`) are not allowed")]
    Alias,
    /// `<<:`.
    #[error("merge keys (`<<`) are not allowed")]
    MergeKey,
    /// `!tag`.
    #[error("tags (`{tag}`) are not allowed")]
    Tag {
        /// As written.
        tag: String,
    },
    /// `%YAML` or another.
    #[error("directives (`%…`) are not allowed")]
    Directive,
    /// A second `---`.
    #[error("a second document begins here")]
    SeveralDocuments,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More values than [`MAX_NODES`].
    #[error("more than {MAX_NODES} values")]
    TooManyValues,
    /// A key twice in one mapping.
    #[error("key `{key}` stands here a second time")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A key that is no plain text.
    #[error("a key must be one plain word")]
    KeyNotText,
    /// A key or list item without a value, or with `null`.
    #[error("{what} has no value")]
    NoValue {
        /// The key, or "this list item".
        what: String,
    },
    /// A key the schema does not know.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// As written.
        key: String,
        /// The keys that may stand there.
        expected: Vec<&'static str>,
    },
    /// A key the schema needs.
    #[error("key `{key}` is missing here")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// One of a fixed set of words was needed.
    #[error("`{value}` is not one of {}", words(.expected))]
    UnknownValue {
        /// As written.
        value: String,
        /// The words.
        expected: Vec<&'static str>,
    },
    /// A list where a number belongs, and the like.
    #[error("expected {expected}")]
    WrongType {
        /// What belongs there.
        expected: String,
    },
    /// The right type, but not a value of it.
    #[error("{message}")]
    InvalidValue {
        /// Says what was given and what is needed.
        message: String,
    },
}

fn words(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl ParseProblem {
    /// A stable name for programs and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotUtf8 { .. } => "not-utf8",
            Self::Character { .. } => "character",
            Self::Empty => "empty",
            Self::Syntax { .. } => "syntax",
            Self::Anchor => "anchor",
            Self::Alias => "alias",
            Self::MergeKey => "merge-key",
            Self::Tag { .. } => "tag",
            Self::Directive => "directive",
            Self::SeveralDocuments => "several-documents",
            Self::TooDeep => "too-deep",
            Self::TooManyValues => "too-many-values",
            Self::DuplicateKey { .. } => "duplicate-key",
            Self::KeyNotText => "key-not-text",
            Self::NoValue { .. } => "no-value",
            Self::UnknownKey { .. } => "unknown-key",
            Self::MissingKey { .. } => "missing-key",
            Self::UnknownValue { .. } => "unknown-value",
            Self::WrongType { .. } => "wrong-type",
            Self::InvalidValue { .. } => "invalid-value",
        }
    }

    /// What to do about it; empty where the message says it already.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::TooLarge { .. } => "move large manifests out of the configuration".into(),
            Self::NotUtf8 { .. } => "save the file as UTF-8".into(),
            Self::Character { name: "a carriage return", .. } => "save the file with Unix line ends".into(),
            Self::Character { name: "a byte-order mark", .. } => "save the file as UTF-8 without byte-order mark".into(),
            Self::Character { .. } => "remove it; in a double-quoted text write it as an escape".into(),
            Self::Empty => "`skerryctl config new` writes one to start from".into(),
            Self::Syntax { .. } => "check indentation, colons and quotes here and in the line above".into(),
            Self::Anchor | Self::Alias | Self::MergeKey => "write the value out where it is needed".into(),
            Self::Tag { .. } => "remove the tag; quote the value if it is text that starts with `!`".into(),
            Self::Directive => "remove the line".into(),
            Self::SeveralDocuments => "one file holds one configuration; remove the second `---`".into(),
            Self::TooDeep | Self::TooManyValues => "no configuration needs this; look for a mistake in indentation".into(),
            Self::DuplicateKey { .. } => "keep one of the two".into(),
            Self::KeyNotText => "quote it if it is meant as text".into(),
            Self::NoValue { .. } => "give it one, or remove it; write \"\" for an empty text".into(),
            Self::UnknownKey { key, expected } => super::hint::key(key, expected),
            Self::MissingKey { key } => format!("add `{key}: …`"),
            Self::UnknownValue { value, expected } => super::hint::word(value, expected),
            Self::WrongType { .. } | Self::InvalidValue { .. } => String::new(),
        }
    }
}

/// The first thing that is wrong with a document. `Display` is one line; [`ParseError::report`] shows the source too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line_of_text())]
pub struct ParseError {
    problem: Box<ParseProblem>,
    position: Option<Position>,
    path: String,
    excerpt: String,
    hint: String,
}

impl ParseError {
    pub(super) fn new(problem: ParseProblem, position: Position, path: String, text: &str) -> Self {
        let excerpt = excerpt(text.lines().nth(position.line.saturating_sub(1)).unwrap_or_default());
        Self { hint: problem.hint(), problem: Box::new(problem), position: Some(position), path, excerpt }
    }

    pub(super) fn of_whole(problem: ParseProblem) -> Self {
        let hint = problem.hint();
        Self { problem: Box::new(problem), position: None, path: String::new(), excerpt: String::new(), hint }
    }

    /// A stable name for programs and tests, e.g. `unknown-key`.
    pub fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// What is wrong.
    pub fn problem(&self) -> &ParseProblem {
        &self.problem
    }

    /// Line and column, counted from 1; none when it is the document as a whole.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The line, counted from 1; 0 when it is the document as a whole.
    pub fn line(&self) -> usize {
        self.position.map_or(0, |position| position.line)
    }

    /// The column in characters, counted from 1; 0 when it is the document as a whole.
    pub fn column(&self) -> usize {
        self.position.map_or(0, |position| position.column)
    }

    /// Where in the configuration, e.g. `machine.network.interfaces[0]`; empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The source line, secrets masked.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }

    /// What to do about it; may be empty.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Several lines for a person at a terminal: the message, the place in `file`, the source line with a mark, the hint.
    pub fn report(&self, file: &str) -> String {
        let mut report = format!("{}\n", self.problem);
        if let Some(Position { line, column }) = self.position {
            let margin = " ".repeat(line.to_string().len());
            let before: String = self.excerpt.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            report +=
                &format!("{margin}--> {file}:{line}:{column}\n{margin} |\n{line} | {}\n{margin} | {before}^\n", self.excerpt);
        }
        for (name, text) in [("in", &self.path), ("hint:", &self.hint)] {
            if !text.is_empty() {
                report += &format!("  {name} {text}\n");
            }
        }
        report
    }

    fn line_of_text(&self) -> String {
        let place = match self.position {
            Some(Position { line, column }) if self.path.is_empty() => format!("line {line}, column {column}: "),
            Some(Position { line, column }) => format!("line {line}, column {column}, {}: ", self.path),
            None => String::new(),
        };
        let mut text = format!("{place}{}", self.problem);
        if !self.hint.is_empty() {
            text += &format!("; {}", self.hint);
        }
        text
    }
}

/// The source line, cut to a length a terminal shows, with the value of a secret key masked.
fn excerpt(line: &str) -> String {
    let masked = SECRET_KEYS.iter().find_map(|key| {
        let end = line.find(&format!("{key}:"))? + key.len() + 1;
        Some(format!("{} {}", &line[..end], Secret::MASK))
    });
    masked.as_deref().unwrap_or(line).chars().take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_never_shows_a_token_or_a_password() {
        for line in ["  token: hunter2", "  auth: {username: a, password: hunter2}", "  password:hunter2"] {
            assert!(!excerpt(line).contains("hunter2"), "{line}");
        }
        assert_eq!(excerpt("  mtu: 9000"), "  mtu: 9000");
    }

    #[test]
    fn an_excerpt_of_a_long_line_is_cut() {
        assert_eq!(excerpt(&"ä".repeat(1000)).chars().count(), EXCERPT_CHARS);
    }
}
