//! Second pass: the document's types. Turns the reader's errors into ours, with path, place and hint.

use serde_saphyr::{DefaultMessageFormatter, DuplicateKeyPolicy, Error, MergeKeyPolicy, MessageFormatter, Options};

use super::error::{ParseError, ParseProblem};
use super::outline::{MAX_DEPTH, MAX_NODES, Outline, Position};
use crate::flat::{Leaf, flatten};
use crate::schema::MachineConfig;
use crate::text::MAX_CONFIG_BYTES;

/// The reader's own limits stand behind the first pass: neither is the only guard.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_CONFIG_BYTES),
            max_documents: 1,
            max_depth: MAX_DEPTH + 2,
            max_nodes: MAX_NODES + 1,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        legacy_octal_numbers: false,
        reject_unsupported_tags: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// Reads the types of a text whose shape has been read.
pub(super) fn read(text: &str, outline: &Outline) -> Result<MachineConfig, ParseError> {
    let config = serde_saphyr::from_str_with_options(text, options()).map_err(|error| translate(&error, text, outline))?;
    check_quotes(&config, text, outline)?;
    Ok(config)
}

/// The reader takes `"7440"` for a number. Quotes mean text; a tool that quotes numbers will one day quote what must not be.
fn check_quotes(config: &MachineConfig, text: &str, outline: &Outline) -> Result<(), ParseError> {
    let quoted = |(path, leaf): (String, Leaf)| {
        let position = if leaf.is_text() { None } else { outline.quoted(&path) }?;
        let problem = ParseProblem::WrongType { expected: "a number or a boolean, without quotes".into() };
        Some(ParseError::new(problem, position, path, text))
    };
    flatten(config).into_iter().find_map(quoted).map_or(Ok(()), Err)
}

fn translate(error: &Error, text: &str, outline: &Outline) -> ParseError {
    let error = error.without_snippet();
    let problem = problem(error);
    let Some(location) = error.location().filter(|location| location.line() > 0) else {
        return ParseError::of_whole(problem);
    };
    let as_count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let position = Position { line: as_count(location.line()), column: as_count(location.column()) };
    let (path, position) = if matches!(problem, ParseProblem::MissingKey { .. }) {
        outline.incomplete_at(position)
    } else if matches!(problem, ParseProblem::UnknownKey { .. }) {
        (outline.parent_at(position).0, position)
    } else {
        (outline.path_at(position), position)
    };
    ParseError::new(problem, position, path, text)
}

fn problem(error: &Error) -> ParseProblem {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            ParseProblem::UnknownKey { key: field.clone(), expected: expected.clone() }
        }
        Error::SerdeMissingField { field, .. } => ParseProblem::MissingKey { key: field },
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            ParseProblem::UnknownValue { value: variant.clone(), expected: expected.clone() }
        }
        Error::DuplicateMappingKey { key, .. } => ParseProblem::DuplicateKey { key: key.clone().unwrap_or_default() },
        Error::MergeKeyNotAllowed { .. } => ParseProblem::MergeKey,
        Error::MultipleDocuments { .. } => ParseProblem::SeveralDocuments,
        Error::UnsupportedTag { tag, .. } => ParseProblem::Tag { tag: tag.clone() },
        Error::Message { msg, .. } => ParseProblem::InvalidValue { message: msg.clone() },
        Error::SerdeInvalidType { expected, .. } => ParseProblem::WrongType { expected: expected.clone() },
        Error::InvalidScalar { ty, .. } => ParseProblem::WrongType { expected: plain_words(ty) },
        Error::InvalidBooleanStrict { .. } => ParseProblem::WrongType { expected: "`true` or `false`".into() },
        Error::Unexpected { expected, .. } => ParseProblem::WrongType { expected: plain_words(expected) },
        other => ParseProblem::InvalidValue { message: DefaultMessageFormatter.format_message(other).into_owned() },
    }
}

/// The reader names Rust's and the scanner's types; people write numbers, texts, lists and mappings.
fn plain_words(expected: &str) -> String {
    match expected {
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" => format!("a whole number from 0 to {}", u64::MAX),
        "mapping start" => "a mapping (`key: value`)".into(),
        "sequence start" => "a list (`- item`)".into(),
        "string scalar" => "text".into(),
        other => other.to_owned(),
    }
}
