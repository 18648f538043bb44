//! Labels and groups: the words people sort devices by. Bounded, so that a device list stays a list.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::listed::text_schema;

/// Labels of a device.
pub type Labels = BTreeMap<String, String>;

/// Labels of one device at most.
const MAX_LABELS: usize = 64;
/// Groups of one device at most.
const MAX_GROUPS: usize = 64;
/// Bytes of a key or of a group's name at most.
const MAX_KEY_BYTES: usize = 63;
/// Bytes of a value at most.
const MAX_VALUE_BYTES: usize = 255;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label {
    /// Before the equals sign.
    pub key: String,
    /// After it.
    pub value: String,
}

text_schema!(Label);

/// Why words are no labels or groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No `key=value`.
    #[error("cannot use the label `{text}`: write `key=value`")]
    Form {
        /// As given.
        text: String,
    },
    /// A key or group of other characters.
    #[error("cannot use `{text}` as a label's key or a group: 1 to {MAX_KEY_BYTES} letters, digits, `.`, `_`, `/` and `-`")]
    Key {
        /// As given, cut.
        text: String,
    },
    /// A value with line breaks, or a long one.
    #[error("cannot use the value of label `{key}`: one line of at most {MAX_VALUE_BYTES} bytes")]
    Value {
        /// Its key.
        key: String,
    },
    /// Too many of them.
    #[error("cannot give a device {count} labels or groups: at most {MAX_LABELS}")]
    Many {
        /// How many.
        count: usize,
    },
}

fn check_key(key: &str) -> Result<(), LabelError> {
    let fits = (1..=MAX_KEY_BYTES).contains(&key.len());
    if fits && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b)) {
        Ok(())
    } else {
        Err(LabelError::Key { text: super::text::bounded(key, MAX_KEY_BYTES) })
    }
}

/// Whether these can be a device's labels.
///
/// # Errors
/// The first that cannot.
pub fn check_labels(labels: &Labels) -> Result<(), LabelError> {
    if labels.len() > MAX_LABELS {
        return Err(LabelError::Many { count: labels.len() });
    }
    for (key, value) in labels {
        check_key(key)?;
        if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return Err(LabelError::Value { key: key.clone() });
        }
    }
    Ok(())
}

/// Whether these can be a device's groups.
///
/// # Errors
/// The first that cannot.
pub fn check_groups(groups: &[String]) -> Result<(), LabelError> {
    if groups.len() > MAX_GROUPS {
        return Err(LabelError::Many { count: groups.len() });
    }
    groups.iter().try_for_each(|group| check_key(group))
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| LabelError::Form { text: super::text::bounded(text, MAX_KEY_BYTES) })?;
        check_labels(&Labels::from([(key.to_owned(), value.to_owned())]))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_break_lists_are_refused() {
        assert_eq!("shop=0421=b".parse(), Ok(Label { key: "shop".into(), value: "0421=b".into() }));
        for bad in ["", "shop", "=x", "a b=c", "a=b\nc", &format!("{}=x", "k".repeat(64)), &format!("k={}", "v".repeat(256))] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
        let many: Labels = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(check_labels(&many), Err(LabelError::Many { count: 65 }));
        assert!(check_groups(&["shops/north".into()]).is_ok() && check_groups(&["a b".into()]).is_err());
    }
}
