//! What the hub answers: for programs exactly as the hub wrote it, for people as far as this version understands it.

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::view::View;

use super::{Hub, HubError};

/// An answer in both forms.
#[derive(Debug, Clone)]
pub(crate) struct Shown<T> {
    raw: Value,
    /// As it was understood.
    pub(crate) read: T,
}

impl<T: DeserializeOwned> Shown<T> {
    /// Understands an answer of this hub to this request.
    pub(crate) fn of(raw: Value, hub: &Hub, asked: &str) -> Result<Self, HubError> {
        let read = T::deserialize(&raw).map_err(|error| hub.senseless(asked.to_owned(), error.to_string()))?;
        Ok(Self { raw, read })
    }
}

impl<T> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

/// How a part of an answer looks to people.
pub(crate) trait Text {
    /// Ends with a newline unless empty.
    fn text(&self) -> String;
}

impl<T: Text> View for Shown<T> {
    fn text(&self) -> String {
        self.read.text()
    }
}
