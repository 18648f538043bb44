//! Checking a configuration file on the operator's desk, with the same library that judges it on the device.

use std::path::{Path, PathBuf};

use machine_config::{
    EnvelopeError, MachineConfig, ParseError, Position, Refusal, SemanticError, SignError, Unverified, check_semantics, locate,
    parse,
};

use super::authority::check_authorities;
use crate::failure::{Exit, Explain};

/// Why a configuration file does not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// It cannot be read as a configuration.
    #[error("{} is not a valid configuration: {}", file.display(), error.report(&file.display().to_string()).trim_end())]
    Parse {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        error: Box<ParseError>,
    },
    /// It carries a signature, or something like one, that is malformed.
    #[error("{} is not a well-formed signed configuration: {error}", file.display())]
    Envelope {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: EnvelopeError,
    },
    /// It contradicts itself or means nothing.
    #[error("{} is not a valid configuration:{}", file.display(), findings(file, .errors))]
    Semantics {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong, and where it stands.
        errors: Vec<(SemanticError, Option<Position>)>,
    },
    /// It is meant for another fleet than the one that shall sign it.
    #[error("{} is for the fleet `{found}`, not for `{expected}`", file.display())]
    Fleet {
        /// The file.
        file: PathBuf,
        /// `metadata.fleet`.
        found: String,
        /// The fleet folder's name.
        expected: String,
    },
    /// Signing was refused.
    #[error("{}: {error}", file.display())]
    Sign {
        /// The file.
        file: PathBuf,
        /// Why.
        error: SignError,
    },
    /// A device of the fleet would refuse it.
    #[error("{} would be {refusal}", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Why.
        refusal: Box<Refusal>,
    },
}

fn findings(file: &Path, errors: &[(SemanticError, Option<Position>)]) -> String {
    let mut text = String::new();
    for (error, position) in errors {
        let place =
            position.map_or_else(String::new, |Position { line, column }| format!("{}:{line}:{column}: ", file.display()));
        text.push_str(&format!("\n  {place}{error}"));
    }
    text
}

impl Explain for CheckError {
    fn exit(&self) -> Exit {
        Exit::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Fleet { expected, .. } => {
                Some(format!("set metadata.fleet to `{expected}`, or sign it with the other fleet's key"))
            }
            Self::Sign { error: SignError::AlreadySigned { .. }, .. } => Some("add --replace to sign its document anew".into()),
            // The messages say what to do themselves.
            Self::Parse { .. } | Self::Envelope { .. } | Self::Semantics { .. } | Self::Sign { .. } | Self::Refused { .. } => {
                None
            }
        }
    }

    fn refusal_code(&self) -> Option<&str> {
        Some(match self {
            Self::Parse { error, .. } => error.code(),
            Self::Envelope { .. } => "envelope",
            Self::Semantics { .. } => "semantics",
            Self::Fleet { .. } => "fleet",
            Self::Sign { error: SignError::TooLarge { .. }, .. } => "size",
            Self::Sign { error: SignError::NotUtf8 { .. }, .. } => "utf8",
            Self::Sign { error: SignError::AlreadySigned { .. } | SignError::Document(_), .. } => "envelope",
            Self::Refused { refusal, .. } => refusal.code(),
        })
    }

    fn position(&self) -> Option<(usize, usize)> {
        let position = match self {
            Self::Parse { error, .. } => error.position(),
            Self::Envelope { error, .. } => error.line().map(|line| Position { line, column: 1 }),
            Self::Semantics { errors, .. } => errors.iter().find_map(|(_, position)| *position),
            Self::Refused { refusal, .. } => refusal.position(),
            Self::Fleet { .. } | Self::Sign { .. } => None,
        };
        position.map(|Position { line, column }| (line, column))
    }
}

/// The first line of a signature, after its marker.
const SIGNATURE: &str = "---\nkind: Signature\n";

/// The document of a file, signed or not. Only for looking at one's own files: it proves nothing.
pub(super) fn document_of<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a [u8], CheckError> {
    // Bytes that are not text go on to `parse`, which says where.
    let Some((text, at)) = std::str::from_utf8(bytes).ok().and_then(|text| Some((text, text.rfind(SIGNATURE)?))) else {
        return Ok(bytes);
    };
    match Unverified::split(text) {
        Ok(_) => Ok(&bytes[..at]),
        Err(error) => Err(CheckError::Envelope { file: file.into(), error }),
    }
}

/// The configuration in a file, signed or not, with its meaning checked. The signature is not.
pub(super) fn check(file: &Path, bytes: &[u8]) -> Result<MachineConfig, CheckError> {
    let document = document_of(file, bytes)?;
    let config = parse(document).map_err(|error| CheckError::Parse { file: file.into(), error: Box::new(error) })?;
    let placed = |error: SemanticError| {
        let position = locate(document, &error.path);
        (error, position)
    };
    let errors = check_semantics(&config).err().unwrap_or_else(|| check_authorities(&config).into_iter().collect());
    if errors.is_empty() {
        return Ok(config);
    }
    Err(CheckError::Semantics { file: file.into(), errors: errors.into_iter().map(placed).collect() })
}
