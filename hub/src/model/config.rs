//! Signed configurations, whom they are meant for, and how far they came.

use std::fmt;
use std::str::FromStr;

use machine_config::types::Digest;
use machine_config::{DeviceId, KeyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::label::{Label, check_groups};
use super::listed::text_schema;
use super::text::bounded;
use super::time::Time;

/// A signed configuration that was uploaded. Its bytes are asked for apart: they hold the fleet's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// SHA-256 of the file.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// The fleet it was signed for.
    pub fleet: String,
    /// `metadata.name`.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// Whom it was signed for: `serial FZ0001`, `mac 52:54:00:…`, `device 3f0c…`, `any`.
    pub target: String,
    /// The key that signed it.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// Who brought it.
    pub uploaded_by: String,
    /// When.
    pub uploaded_at: Time,
}

/// Whom a configuration is assigned to: `device:ID`, `group:NAME`, `label:KEY=VALUE`. A device takes it only if it was also signed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AssignTo {
    /// One device.
    Device(DeviceId),
    /// Every device of a group.
    Group(String),
    /// Every device with a label.
    Label(Label),
}

text_schema!(AssignTo);

/// Why a text names nobody to assign to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot assign to `{text}`: write `device:ID`, `group:NAME` or `label:KEY=VALUE`")]
pub struct AssignToError {
    /// As given, cut.
    pub text: String,
}

impl AssignTo {
    /// Which sort of target.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Group(_) => "group",
            Self::Label(_) => "label",
        }
    }

    /// Which of that sort.
    pub fn value(&self) -> String {
        match self {
            Self::Device(id) => id.to_string(),
            Self::Group(name) => name.clone(),
            Self::Label(label) => label.to_string(),
        }
    }
}

impl fmt::Display for AssignTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.value())
    }
}

impl FromStr for AssignTo {
    type Err = AssignToError;

    fn from_str(text: &str) -> Result<Self, AssignToError> {
        let read = |(kind, value): (&str, &str)| match kind {
            "device" => value.parse().ok().map(Self::Device),
            "group" => check_groups(&[value.to_owned()]).ok().map(|()| Self::Group(value.to_owned())),
            "label" => value.parse().ok().map(Self::Label),
            _ => None,
        };
        text.split_once(':').and_then(read).ok_or_else(|| AssignToError { text: bounded(text, 128) })
    }
}

impl TryFrom<String> for AssignTo {
    type Error = AssignToError;

    fn try_from(text: String) -> Result<Self, AssignToError> {
        text.parse()
    }
}

impl From<AssignTo> for String {
    fn from(to: AssignTo) -> Self {
        to.to_string()
    }
}

/// A configuration and whom it is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The configuration.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// To whom.
    pub to: AssignTo,
    /// Who assigned it.
    pub by: String,
    /// When.
    pub at: Time,
}

/// How far a configuration came on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum DeliveryState {
    /// It was sent.
    Offered,
    /// The device accepted it.
    Taken,
    /// The device refused it.
    Refused {
        /// The refusal's stable code.
        code: String,
        /// The same for people.
        message: String,
    },
    /// The device reports it as the one in force.
    Running,
}

/// One configuration on its way to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The configuration.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How far it came.
    #[serde(flatten)]
    pub state: DeliveryState,
    /// Since when.
    pub at: Time,
}

/// How far a configuration came on all devices it is assigned to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Devices that run it.
    pub running: u64,
    /// Devices that took it and do not report it yet.
    pub taken: u64,
    /// Devices it was sent to.
    pub offered: u64,
    /// Devices that refused it.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_one_text_and_comes_back() {
        for text in [format!("device:{}", "ab".repeat(32)), "group:shops/north".into(), "label:shop=0421:b".into()] {
            assert_eq!(text.parse::<AssignTo>().unwrap().to_string(), text);
        }
        for bad in ["", "device:", "device:xy", "group:", "group:a b", "label:shop", "all:", "any"] {
            assert!(bad.parse::<AssignTo>().is_err(), "{bad}");
        }
    }
}
