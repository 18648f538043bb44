//! The forms an image can be written in, as boards and `--format` name them.

use serde::{Deserialize, Serialize};

/// One form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The disk, byte for byte.
    Raw,
    /// The disk, compressed with zstd.
    #[serde(rename = "raw.zst")]
    RawZst,
    /// The disk, compressed with gzip.
    #[serde(rename = "raw.gz")]
    RawGz,
    /// A virtual machine's disk.
    Qcow2,
    /// A disc or USB stick that runs from RAM and installs.
    Iso,
    /// What a netboot server hands out, runs from RAM and installs.
    Pxe,
    /// One UEFI program that runs from RAM and installs.
    Uki,
}

impl Format {
    /// Every form, in the order of the documentation.
    pub const ALL: [Self; 7] = [Self::Raw, Self::RawZst, Self::RawGz, Self::Qcow2, Self::Iso, Self::Pxe, Self::Uki];

    /// The name on command lines and in board files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawZst => "raw.zst",
            Self::RawGz => "raw.gz",
            Self::Qcow2 => "qcow2",
            Self::Iso => "iso",
            Self::Pxe => "pxe",
            Self::Uki => "uki",
        }
    }

    /// Whether it runs wholly from RAM, which takes UEFI firmware that loads one large program.
    pub fn runs_from_ram(self) -> bool {
        match self {
            Self::Iso | Self::Pxe | Self::Uki => true,
            Self::Raw | Self::RawZst | Self::RawGz | Self::Qcow2 => false,
        }
    }
}

/// A name that is no form's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no form of an image; there are {}", known())]
pub struct FormatError {
    name: String,
}

fn known() -> String {
    Format::ALL.map(Format::as_str).join(", ")
}

impl std::str::FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| FormatError { name: name.to_owned() })
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
