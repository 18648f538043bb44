//! The packages of a document: the image itself, what it was assembled from, and crates.

use serde::Serialize;

use super::{OWN, Subject};
use crate::components::assemble::Record;
use crate::components::crates::Crate;

const UNKNOWN: &str = "NOASSERTION";
const OUR_LICENCE: &str = "Apache-2.0";
const OURS: &str = "Organization: Skerry";
const DEBIAN: &str = "Organization: Debian";

/// One package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    supplier: String,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<Reference>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

impl Reference {
    fn purl(locator: String) -> Self {
        Self { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: locator }
    }
}

fn sha256(value: String) -> Vec<Checksum> {
    vec![Checksum { algorithm: "SHA256", checksum_value: value }]
}

impl Package {
    fn new(id: String, name: &str, version: &str, checksums: Vec<Checksum>) -> Self {
        Self {
            id,
            name: name.into(),
            version_info: version.into(),
            package_file_name: None,
            supplier: UNKNOWN.into(),
            download_location: UNKNOWN.into(),
            files_analyzed: false,
            checksums,
            license_concluded: UNKNOWN,
            license_declared: UNKNOWN,
            copyright_text: UNKNOWN,
            primary_package_purpose: None,
            comment: None,
            external_refs: Vec::new(),
        }
    }

    fn ours(self) -> Self {
        Self { supplier: OURS.into(), license_declared: OUR_LICENCE, ..self }
    }

    /// What the document describes.
    pub(super) fn image(id: &str, subject: &Subject<'_>) -> Self {
        let release = subject.release;
        Self {
            package_file_name: Some(subject.file_name.into()),
            supplier: OURS.into(),
            primary_package_purpose: Some("OPERATING-SYSTEM"),
            comment: Some(format!("Skerry for board {} ({}), form {}", release.board, release.architecture, subject.format)),
            ..Self::new(id.into(), &format!("skerry-{}", release.board), &release.version, sha256(subject.sha256.hex()))
        }
    }

    /// What an image was assembled from.
    pub(super) fn component(number: usize, record: &Record) -> Self {
        let id = format!("SPDXRef-Component-{number}-{}", identifier(&record.name));
        let package = Self::new(id, &record.name, &record.version, sha256(record.sha256.hex()));
        let package = Self { comment: Some(format!("component {}, from {}", record.component, record.source)), ..package };
        match Origin::of(record) {
            Origin::Ours => Self { primary_package_purpose: Some("APPLICATION"), ..package.ours() },
            Origin::Debian { architecture } => {
                let purl = format!("pkg:deb/debian/{}@{}?arch={architecture}", escaped(&record.name), escaped(&record.version));
                Self { supplier: DEBIAN.into(), external_refs: vec![Reference::purl(purl)], ..package }
            }
            Origin::Address => Self { download_location: record.source.clone(), ..package },
            Origin::Given => package,
        }
    }

    /// A crate in our programs.
    pub(super) fn rust_crate(one: &Crate) -> Self {
        let checksums = one.sha256.map(|sum| sha256(sum.hex())).unwrap_or_default();
        let package = Self::new(crate_id(one), &one.name, &one.version, checksums);
        let package = Self { primary_package_purpose: Some("LIBRARY"), ..package };
        match &one.sha256 {
            Some(_) => {
                let purl = format!("pkg:cargo/{}@{}", escaped(&one.name), escaped(&one.version));
                Self { external_refs: vec![Reference::purl(purl)], ..package }
            }
            None => package.ours(),
        }
    }

    /// Its name within the document.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// Where a component comes from.
enum Origin<'a> {
    Ours,
    Debian { architecture: &'a str },
    Address,
    Given,
}

impl<'a> Origin<'a> {
    fn of(record: &'a Record) -> Self {
        let package = record.source.strip_suffix(".deb").and_then(|path| path.rsplit_once('_'));
        match package {
            _ if record.component == OWN => Self::Ours,
            Some((_, architecture)) if !architecture.contains('/') => Self::Debian { architecture },
            _ if record.source.contains("://") => Self::Address,
            _ => Self::Given,
        }
    }
}

/// A crate's name within the document.
pub(super) fn crate_id(one: &Crate) -> String {
    format!("SPDXRef-Crate-{}-{}", identifier(&one.name), identifier(&one.version))
}

/// Letters, digits, `.` and `-` are all that SPDX allows; two names that differ elsewhere alone must not become one.
fn identifier(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!(".{:x}.", u32::from(c)) }).collect()
}

/// Percent-encoded, as package URLs want it.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
