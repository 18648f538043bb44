//! The stable names of refusals, one for each check, with what they mean and what to do. They travel in the API's error metadata and
//! stand in the reference of the configuration.

use std::fmt;

/// Which check refused a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The file is too large.
    Size,
    /// The file is not text.
    Utf8,
    /// The file is not one document with one signature.
    Envelope,
    /// The key is not the fleet's.
    KeyUnknown,
    /// The signature does not hold.
    Signature,
    /// The document is not a configuration.
    Schema,
    /// The configuration is another fleet's.
    Fleet,
    /// The configuration is another device's.
    Target,
    /// The configuration is older than the one accepted last.
    GenerationOlder,
    /// The configuration differs from one of the same generation.
    GenerationConflict,
    /// The configuration contradicts itself or means nothing.
    Semantics,
}

impl RefusalCode {
    /// All codes, in the order of the checks.
    pub const ALL: [Self; 11] = [
        Self::Size,
        Self::Utf8,
        Self::Envelope,
        Self::KeyUnknown,
        Self::Signature,
        Self::Schema,
        Self::Fleet,
        Self::Target,
        Self::GenerationOlder,
        Self::GenerationConflict,
        Self::Semantics,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Utf8 => "utf8",
            Self::Envelope => "envelope",
            Self::KeyUnknown => "key-unknown",
            Self::Signature => "signature",
            Self::Schema => "schema",
            Self::Fleet => "fleet",
            Self::Target => "target",
            Self::GenerationOlder => "generation-older",
            Self::GenerationConflict => "generation-conflict",
            Self::Semantics => "semantics",
        }
    }

    /// What it says about the file, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Size => "the file is larger than a device takes",
            Self::Utf8 => "the file is not UTF-8 text",
            Self::Envelope => {
                "the file is not one document and one signature to the last byte: unsigned, cut off, or edited below the `---`"
            }
            Self::KeyUnknown => "it is signed with a key that is not among the fleet's",
            Self::Signature => "the signature does not hold: document or signature were changed after signing",
            Self::Schema => {
                "the document is not a configuration: its YAML, a key, or a value is wrong; the message has line and column"
            }
            Self::Fleet => "`metadata.fleet` names another fleet than the device's",
            Self::Target => "`target` names another device",
            Self::GenerationOlder => "`metadata.generation` is less than that of the configuration accepted last",
            Self::GenerationConflict => "a different file of the same `metadata.generation` was accepted before",
            Self::Semantics => "settings contradict each other or mean nothing; the message lists each with its path",
        }
    }

    /// What to do, for the reference.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Size => "move large manifests out of the configuration",
            Self::Utf8 => "save it as UTF-8, sign it again",
            Self::Envelope => "sign it with `skerryctl config sign`, carry it over byte for byte",
            Self::KeyUnknown => {
                "sign it with the key of the fleet the device was flashed for; the message has the ids of both keys"
            }
            Self::Signature => "sign it again, after looking at what changed",
            Self::Schema => "`skerryctl config validate` shows the place and often the remedy; correct it and sign it again",
            Self::Semantics => "`skerryctl config validate` shows every place; correct them and sign it again",
            Self::Fleet => {
                "send it to a device of that fleet, or correct `metadata.fleet` and sign it with the right fleet's key"
            }
            Self::Target => "send it to that device, or correct `target`; the message says what the device has instead",
            Self::GenerationOlder | Self::GenerationConflict => {
                "raise `metadata.generation` above the number in the message, sign it again"
            }
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_stands_twice_or_is_forgotten() {
        let codes: BTreeSet<&str> = RefusalCode::ALL.into_iter().map(RefusalCode::as_str).collect();
        assert_eq!(codes.len(), RefusalCode::ALL.len());
        // The last variant: a new one behind it or before it breaks one of the two.
        assert_eq!(RefusalCode::Semantics as usize + 1, RefusalCode::ALL.len());
    }
}
