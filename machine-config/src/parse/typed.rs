//! Second pass: the document's types. Turns the reader's errors into ours, with path, place and hint.

use serde_saphyr::{DefaultMessageFormatter, DuplicateKeyPolicy, Error, MergeKeyPolicy, MessageFormatter, Options};

use super::error::{ParseError, ParseProblem};
use super::outline::{MAX_DEPTH, MAX_NODES, Outline, Position};
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
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| translate(&error, text, outline))
}

fn translate(error: &Error, text: &str, outline: &Outline) -> ParseError {
    let error = error.without_snippet();
    let problem = problem(error);
    let Some(location) = error.location().filter(|location| location.line() > 0) else {
        return ParseError::of_whole(problem);
    };
    let as_count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let position = Position { line: as_count(location.line()), column: as_count(location.column()) };
    let path = outline.path_at(position);
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
        Error::InvalidScalar { ty, .. } => ParseProblem::WrongType { expected: (*ty).to_owned() },
        Error::InvalidBooleanStrict { .. } => ParseProblem::WrongType { expected: "`true` or `false`".into() },
        Error::Unexpected { expected, .. } => ParseProblem::WrongType { expected: (*expected).to_owned() },
        other => ParseProblem::InvalidValue { message: DefaultMessageFormatter.format_message(other).into_owned() },
    }
}
