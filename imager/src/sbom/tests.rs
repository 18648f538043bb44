//! The document says what the locks say, in one form.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::board::Architecture;

fn release() -> Release {
    Release {
        version: "0.1.0".into(),
        board: "test".into(),
        architecture: Architecture::X86_64,
        build_time_floor: 1_700_000_000,
        k3s_roles: vec![],
        watchdog: None,
    }
}

fn record(component: &str, name: &str, version: &str, source: &str) -> Record {
    let sha256 = Digest::of(name.as_bytes());
    Record { component: component.into(), name: name.into(), version: version.into(), sha256, source: source.into() }
}

fn records() -> Vec<Record> {
    vec![
        record("conntrack", "conntrack", "1:1.4.9-1", "debian: pool/main/c/conntrack-tools/conntrack_1.4.9-1_amd64.deb"),
        record("k3s", "k3s", "v1.36.4+k3s1", "https://example.invalid/k3s"),
        record("runc", "runc", "given", "given"),
        record("skerry", "apid", "0.1.0", "built here"),
        record("skerry", "skerry-init", "0.1.0", "built here"),
    ]
}

fn document_of(records: &[Record]) -> Value {
    let release = release();
    let subject = Subject { file_name: "a.img", format: Format::Raw, sha256: Digest::of(b"image"), release: &release };
    serde_json::from_str(&document(&subject, records).expect("made")).expect("JSON")
}

fn package<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["packages"].as_array().expect("a list").iter().find(|package| package["name"] == name).expect(name)
}

#[test]
fn every_component_is_told_with_where_it_comes_from() {
    let document = document_of(&records());
    assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let conntrack = package(&document, "conntrack");
    assert_eq!(conntrack["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/conntrack@1%3A1.4.9-1?arch=amd64");
    assert_eq!((&conntrack["supplier"], &conntrack["downloadLocation"]), (&"Organization: Debian".into(), &"NOASSERTION".into()));
    assert_eq!(package(&document, "k3s")["downloadLocation"], "https://example.invalid/k3s");
    assert_eq!(package(&document, "runc")["supplier"], "NOASSERTION");
    assert_eq!(package(&document, "skerry-init")["licenseDeclared"], "Apache-2.0");
    assert_eq!(package(&document, "skerry-test")["checksums"][0]["checksumValue"], Digest::of(b"image").hex());
    let tokio = package(&document, "tokio");
    assert!(tokio["externalRefs"][0]["referenceLocator"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/tokio@1.")));
}

#[test]
fn every_relationship_leads_somewhere_and_no_name_stands_twice() {
    let document = document_of(&records());
    let packages = document["packages"].as_array().expect("a list");
    let mut ids: BTreeSet<_> = packages.iter().map(|package| package["SPDXID"].as_str().expect("text")).collect();
    assert_eq!(ids.len(), packages.len());
    ids.insert(DOCUMENT);
    for relationship in document["relationships"].as_array().expect("a list") {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(ids.contains(relationship[end].as_str().expect("text")), "{relationship}");
        }
    }
    let plain = |id: &&str| id["SPDXRef-".len()..].bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    assert!(ids.iter().all(plain), "{ids:?}");
}

#[test]
fn an_image_without_our_programs_names_no_crates() {
    let document = document_of(&records()[..3]);
    assert_eq!(document["packages"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_namespace_is_the_content_s_own() {
    let release = release();
    let namespace = |bytes: &[u8], file_name| {
        let subject = Subject { file_name, format: Format::Raw, sha256: Digest::of(bytes), release: &release };
        let text = document(&subject, &records()).expect("made");
        serde_json::from_str::<Value>(&text).expect("JSON")["documentNamespace"].clone()
    };
    assert_eq!(namespace(b"one", "a"), namespace(b"one", "a"));
    assert_ne!(namespace(b"one", "a"), namespace(b"two", "a"));
    assert_ne!(namespace(b"one", "a"), namespace(b"one", "b"));
}

#[test]
fn a_crate_of_several_versions_is_told_apart() {
    let lock = "[[package]]\nname = \"init\"\nversion = \"1.0.0\"\ndependencies = [\"a 2.0.0\", \"b\"]\n\
                [[package]]\nname = \"a\"\nversion = \"1.0.0\"\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\nchecksum = \"00\"\n\
                [[package]]\nname = \"b\"\nversion = \"1.0.0\"\ndependencies = [\"init\"]\n[[package]]\nname = \"bb\"\nversion = \"1.0.0\"\n";
    let crates = Crates::parse(lock).expect("parsed");
    let found: Vec<_> = crates.of_programs(&records()).into_iter().map(|one| format!("{} {}", one.name, one.version)).collect();
    assert_eq!(found, ["a 2.0.0", "b 1.0.0", "init 1.0.0"]);
    assert!(Crates::parse("package = 1").is_err());
}
