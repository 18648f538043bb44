//! What an image is made of, as an SPDX 2.3 document: packages, pinned files, our own programs and the crates in them. It says what the image's own
//! list of components says and claims nothing that nobody looked up: licences of others are `NOASSERTION`.

mod packages;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::board::Format;
use crate::components::assemble::Record;
use crate::components::crates::Crate;
use crate::image::digest::Digest;
use crate::image::release::Release;
use packages::Package;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
/// The component of our own programs.
const OWN: &str = "skerry";

/// Why the list cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// An older imager made the image.
    #[error("cannot list the crates in {program}: the image's list of components does not name them; build the image again")]
    NoCrates {
        /// The program.
        program: String,
    },
}

/// What the document is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of the image's file.
    pub file_name: &'a str,
    /// Its form.
    pub format: Format,
    /// Its content.
    pub sha256: Digest,
    /// What it is.
    pub release: &'a Release,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
struct Creation {
    created: String,
    creators: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

impl Relationship {
    fn new(from: &str, kind: &'static str, to: &str) -> Self {
        Self { spdx_element_id: from.into(), relationship_type: kind, related_spdx_element: to.into() }
    }
}

/// The document's text. The same image gives the same text.
pub fn document(subject: &Subject<'_>, records: &[Record]) -> Result<String, SbomError> {
    if let Some(record) = records.iter().find(|record| record.component == OWN && record.crates.is_empty()) {
        return Err(SbomError::NoCrates { program: record.name.clone() });
    }
    let mut packages = vec![Package::image(IMAGE, subject)];
    let mut relationships = vec![Relationship::new(DOCUMENT, "DESCRIBES", IMAGE)];
    for (n, record) in records.iter().enumerate() {
        let package = Package::component(n, record);
        relationships.push(Relationship::new(IMAGE, "CONTAINS", package.id()));
        for linked in &record.crates {
            relationships.push(Relationship::new(package.id(), "STATIC_LINK", &packages::crate_id(linked)));
        }
        packages.push(package);
    }
    let crates: BTreeSet<&Crate> = records.iter().flat_map(|record| &record.crates).collect();
    packages.extend(crates.into_iter().map(Package::rust_crate));
    let namespace = Digest::of_parts("skerry sbom 1", [subject.sha256.as_bytes().as_slice(), subject.file_name.as_bytes()]);
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: subject.file_name,
        document_namespace: format!("urn:uuid:{}", namespace.guid("SPDX document")),
        creation_info: Creation {
            created: time(subject.release.build_time_floor),
            creators: vec![format!("Tool: imager-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        relationships,
    };
    Ok(serde_json::to_string_pretty(&document).expect("text and lists of text have a JSON form") + "\n")
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
