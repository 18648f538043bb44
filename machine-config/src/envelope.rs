//! The envelope: where the signed document ends and its signature begins, decided on bytes by exactly one function.
//!
//! A signed file is the document, a line `---`, and four lines in this order and form, to the last byte:
//!
//! ```text
//! kind: Signature
//! keyId: <16 lower-case hexadecimal digits>
//! algorithm: ed25519
//! value: <base64 of 64 bytes, canonical>
//! ```
//!
//! No YAML parser takes part, so no two parsers can disagree about what was signed. Every line that starts with `---` counts as a
//! marker, save a first line that is `---` alone; a document has no other. Anything that could be read in two ways is refused:
//! carriage returns, a second signature, fields that are unknown, repeated or out of order, text after the end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature;

use crate::key::KeyId;

/// The one algorithm.
const ALGORITHM: &str = "ed25519";

/// The fields of the signature document, in their order.
const FIELDS: [&str; 4] = ["kind", "keyId", "algorithm", "value"];

/// Why bytes are not a document with one signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Nothing above the marker, or nothing at all.
    #[error("the file holds no document; write one above the signature")]
    Empty,
    /// No marker line.
    #[error("the file is not signed; sign it with `skerryctl config sign`")]
    Unsigned,
    /// Windows or old Mac line ends.
    #[error("line {line} ends with a carriage return; save the file with Unix line ends and sign it again")]
    CarriageReturn {
        /// Counted from 1.
        line: usize,
    },
    /// A line that starts with `---` and goes on.
    #[error("line {line} starts with `---` and goes on; only `---` alone separates the document from its signature")]
    Marker {
        /// Counted from 1.
        line: usize,
    },
    /// What follows the marker is not a signature.
    #[error("line {line} begins another document; a file holds one configuration and one signature")]
    SeveralDocuments {
        /// Line of the marker, counted from 1.
        line: usize,
    },
    /// A second signature document.
    #[error("line {line} begins a second signature; a file has exactly one: remove both and sign it again")]
    SecondSignature {
        /// Line of the marker, counted from 1.
        line: usize,
    },
    /// A line of the signature document is not what stands there in a signed file.
    #[error("line {line} of the signature must read `{field}: …`{}; sign the file again with `skerryctl config sign`", not_this(.found))]
    Field {
        /// Counted from 1.
        line: usize,
        /// The field that belongs there.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// A field's value does not have its form.
    #[error("line {line}: `{field}` is not {expected}; sign the file again with `skerryctl config sign`")]
    Value {
        /// Counted from 1.
        line: usize,
        /// The field.
        field: &'static str,
        /// What its value must be.
        expected: &'static str,
    },
    /// Text after the signature.
    #[error("line {line} follows the signature; nothing may: it would not be signed")]
    AfterSignature {
        /// Counted from 1.
        line: usize,
    },
    /// The last line does not end.
    #[error("the file ends in the middle of line {line}; it was cut off: transfer it again")]
    CutOff {
        /// Counted from 1.
        line: usize,
    },
}

fn not_this(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(", not `{}`", text.escape_debug()) }
}

impl EnvelopeError {
    /// The line that is wrong, counted from 1; none when it is the file as a whole.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::Unsigned => None,
            Self::CarriageReturn { line }
            | Self::Marker { line }
            | Self::SeveralDocuments { line }
            | Self::SecondSignature { line }
            | Self::Field { line, .. }
            | Self::Value { line, .. }
            | Self::AfterSignature { line }
            | Self::CutOff { line } => Some(*line),
        }
    }
}

/// A document and the signature that claims to be over it. Nothing is proved yet.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Envelope<'a> {
    /// The exact bytes the signature is over, with their last newline.
    pub(crate) document: &'a str,
    /// Which key the signature claims.
    pub(crate) key_id: KeyId,
    /// The signature.
    pub(crate) signature: Signature,
}

/// One line without its newline, where it starts, and its number counted from 1.
struct Line<'a> {
    text: &'a str,
    start: usize,
    number: usize,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').enumerate().map(move |(index, raw)| {
        let line = Line { text: raw.strip_suffix('\n').unwrap_or(raw), start, number: index + 1 };
        start += raw.len();
        line
    })
}

fn is_marker(line: &Line<'_>) -> bool {
    line.text.starts_with("---") && !(line.number == 1 && line.text == "---")
}

/// Splits a signed file. The only function that decides which bytes a signature covers.
pub(crate) fn split(text: &str) -> Result<Envelope<'_>, EnvelopeError> {
    let marker = marker(text)?;
    let document = &text[..marker.start];
    if document.trim().is_empty() || document.trim() == "---" {
        return Err(EnvelopeError::Empty);
    }
    let mut rest = lines(text).skip(marker.number);
    let first = rest.next().filter(|line| line.text == "kind: Signature");
    let first = first.ok_or(EnvelopeError::SeveralDocuments { line: marker.number })?;
    let (key_line, key_id) = field(rest.next(), first.number + 1, FIELDS[1])?;
    let (algorithm_line, algorithm) = field(rest.next(), first.number + 2, FIELDS[2])?;
    let (value_line, value) = field(rest.next(), first.number + 3, FIELDS[3])?;
    if let Some(line) = rest.next() {
        return Err(after_signature(text, line.number));
    }
    if !text.ends_with('\n') {
        return Err(EnvelopeError::CutOff { line: value_line });
    }
    if algorithm != ALGORITHM {
        return Err(EnvelopeError::Value { line: algorithm_line, field: FIELDS[2], expected: "`ed25519`, the only algorithm" });
    }
    let wrong_key_id = EnvelopeError::Value { line: key_line, field: FIELDS[1], expected: "16 lower-case hexadecimal digits" };
    let key_id = key_id.parse().map_err(|_| wrong_key_id)?;
    let wrong_value = EnvelopeError::Value { line: value_line, field: FIELDS[3], expected: "canonical base64 of 64 bytes" };
    let signature = decode(value).ok_or(wrong_value)?;
    Ok(Envelope { document, key_id, signature })
}

/// The first marker, after what makes line ends ambiguous has been refused.
fn marker(text: &str) -> Result<Line<'_>, EnvelopeError> {
    if text.is_empty() {
        return Err(EnvelopeError::Empty);
    }
    if let Some(line) = lines(text).find(|line| line.text.contains('\r')) {
        return Err(EnvelopeError::CarriageReturn { line: line.number });
    }
    match lines(text).find(is_marker) {
        None => Err(EnvelopeError::Unsigned),
        Some(line) if line.text != "---" => Err(EnvelopeError::Marker { line: line.number }),
        Some(line) => Ok(line),
    }
}

fn field<'a>(line: Option<Line<'a>>, number: usize, name: &'static str) -> Result<(usize, &'a str), EnvelopeError> {
    let Some(line) = line else {
        return Err(EnvelopeError::CutOff { line: number });
    };
    match line.text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) {
        Some(value) => Ok((line.number, value)),
        None => Err(EnvelopeError::Field { line: line.number, field: name, found: line.text.chars().take(40).collect() }),
    }
}

fn after_signature(text: &str, line: usize) -> EnvelopeError {
    let mut rest = lines(text).skip(line - 1);
    let second =
        rest.next().is_some_and(|line| line.text == "---") && rest.next().is_some_and(|line| line.text == "kind: Signature");
    if second { EnvelopeError::SecondSignature { line } } else { EnvelopeError::AfterSignature { line } }
}

fn decode(value: &str) -> Option<Signature> {
    let bytes = STANDARD.decode(value).ok()?;
    Some(Signature::from_bytes(&<[u8; 64]>::try_from(bytes).ok()?))
}

/// What [`split`] takes apart again: `document`, which ends with a newline, and its signature.
pub(crate) fn join(document: &str, key_id: &KeyId, signature: &Signature) -> String {
    let value = STANDARD.encode(signature.to_bytes());
    format!("{document}---\nkind: Signature\nkeyId: {key_id}\nalgorithm: {ALGORITHM}\nvalue: {value}\n")
}

/// The document as it may be signed: no marker, no carriage return, not empty.
pub(crate) fn check_unsigned(text: &str) -> Result<(), EnvelopeError> {
    match marker(text) {
        Err(EnvelopeError::Unsigned) if text.trim().is_empty() => Err(EnvelopeError::Empty),
        Err(EnvelopeError::Unsigned) => Ok(()),
        Err(error) => Err(error),
        Ok(line) => Err(EnvelopeError::SeveralDocuments { line: line.number }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

    fn file(document: &str) -> String {
        format!("{document}---\nkind: Signature\nkeyId: 0123456789abcdef\nalgorithm: ed25519\nvalue: {VALUE}\n")
    }

    #[test]
    fn the_document_is_every_byte_above_the_marker() {
        for document in ["a: 1\n", "---\na: 1\n", "a: |\n  ---\n  b\n", "a: 1\n\n\n", "# only\na: 1\n"] {
            assert_eq!(split(&file(document)).map(|envelope| envelope.document.to_owned()), Ok(document.to_owned()));
        }
    }

    #[test]
    fn join_and_split_are_inverse() {
        let text = file("a: 1\n");
        let envelope = split(&text).expect("well formed");
        assert_eq!(join(envelope.document, &envelope.key_id, &envelope.signature), text);
    }

    #[test]
    fn every_ambiguity_is_refused_by_name() {
        use EnvelopeError::*;
        let good = file("a: 1\n");
        let cases = [
            (String::new(), Empty),
            ("a: 1\n".into(), Unsigned),
            (file(""), Unsigned),
            (file("---\n"), Empty),
            (good.replace("a: 1\n", "a: 1\r\n"), CarriageReturn { line: 1 }),
            (good.replace("---\n", "--- \n"), Marker { line: 2 }),
            (good.replace("---\n", "--- # signature\n"), Marker { line: 2 }),
            (file("a: 1\n---\nb: 2\n"), SeveralDocuments { line: 2 }),
            (good.replace("kind: Signature", "kind: MachineConfig"), SeveralDocuments { line: 2 }),
            (format!("{good}---\nkind: Signature\n"), SecondSignature { line: 7 }),
            (format!("{good}x\n"), AfterSignature { line: 7 }),
            (format!("{good}\n"), AfterSignature { line: 7 }),
            (format!("{good}---\na: 2\n"), AfterSignature { line: 7 }),
            (good.trim_end().into(), CutOff { line: 6 }),
            ("a: 1\n---\nkind: Signature\n".into(), CutOff { line: 4 }),
        ];
        for (text, expected) in cases {
            assert_eq!(split(&text), Err(expected), "{text}");
        }
    }

    #[test]
    fn signature_fields_have_one_order_and_one_form() {
        let good = file("a: 1\n");
        for (from, to) in [
            ("keyId: ", "keyId:  "),
            ("keyId: ", "keyid: "),
            ("keyId: 0123456789abcdef\n", "keyId: 0123456789abcdef\nkeyId: 0123456789abcdef\n"),
            ("algorithm: ed25519\n", "algorithm: ed25519\nextra: 1\n"),
            ("0123456789abcdef", "0123456789ABCDEF"),
            ("0123456789abcdef", "0123456789abcde"),
            ("ed25519", "none"),
            ("AA==", "AB=="),
            ("AA==", "AA= ="),
            ("AAAA==", "AA=="),
            ("AA==", "AA"),
        ] {
            let error = split(&good.replace(from, to)).expect_err(to);
            assert!(matches!(error, EnvelopeError::Field { .. } | EnvelopeError::Value { .. }), "{to}: {error}");
        }
    }
}
