//! The document says what the locks say, in one form: that of the SPDX project's own JSON schema for version 2.3, which lies beside this unchanged
//! (SPDX specification, SPDX Workgroup, CC-BY-3.0).

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
        memory_mib: None,
        watchdog: None,
    }
}

fn record(component: &str, name: &str, version: &str, source: &str) -> Record {
    let sha256 = Digest::of(name.as_bytes());
    let crates = Vec::new();
    Record { component: component.into(), name: name.into(), version: version.into(), sha256, source: source.into(), crates }
}

fn linked(name: &str, version: &str, sha256: Option<Digest>) -> Crate {
    Crate { name: name.into(), version: version.into(), sha256 }
}

fn records() -> Vec<Record> {
    let (own, tokio) = (linked("apid", "0.1.0", None), linked("tokio", "1.54.1", Some(Digest::of(b"tokio"))));
    vec![
        record("conntrack", "conntrack", "1:1.4.9-1", "debian: pool/main/c/conntrack-tools/conntrack_1.4.9-1_amd64.deb"),
        record("k3s", "k3s", "v1.36.4+k3s1", "https://example.invalid/k3s"),
        record("runc", "runc", "given", "given"),
        Record { crates: vec![own, tokio.clone()], ..record("skerry", "apid", "0.1.0", "built here") },
        Record { crates: vec![tokio], ..record("skerry", "skerry-init", "0.1.0", "built here") },
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
    let own = document["packages"].as_array().expect("a list").iter().find(|one| one["SPDXID"] == "SPDXRef-Crate-apid-0.1.0");
    assert_eq!(own.expect("there")["licenseDeclared"], "Apache-2.0");
    assert_eq!(package(&document, "skerry-test")["checksums"][0]["checksumValue"], Digest::of(b"image").hex());
    let tokio = package(&document, "tokio");
    assert_eq!(tokio["externalRefs"][0]["referenceLocator"], "pkg:cargo/tokio@1.54.1");
    assert_eq!(tokio["checksums"][0]["checksumValue"], Digest::of(b"tokio").hex());
}

#[test]
fn a_document_fits_the_schema_of_spdx_and_common_mistakes_do_not() {
    let schema: Value = serde_json::from_str(include_str!("tests/spdx-2.3.schema.json")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let document = document_of(&records());
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
    for (place, mistake) in [
        ("/relationships/0/relationshipType", "STATICALLY_LINKS".into()),
        ("/packages/1/checksums/0/algorithm", "SHA-256".into()),
        ("/packages/1/filesAnalyzed", "no".into()),
        ("/packages/0/primaryPackagePurpose", "IMAGE".into()),
        ("/creationInfo/creators", Value::Null),
        ("/documentNamespace", Value::Null),
    ] {
        let mut document = document.clone();
        *document.pointer_mut(place).expect(place) = mistake;
        assert!(!validator.is_valid(&document), "{place}");
    }
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
fn a_program_s_crates_are_those_that_the_image_says() {
    let document = document_of(&records());
    let crates = |text: &str| document["packages"].as_array().expect("a list").iter().filter(|one| one["name"] == text).count();
    assert_eq!((crates("tokio"), crates("indicatif")), (1, 0), "a crate of two programs stands once, one of imager never");
    let of = |program: &str| {
        let id = package(&document, program)["SPDXID"].clone();
        let all = document["relationships"].as_array().expect("a list").iter();
        let links = all.filter(|one| one["spdxElementId"] == id && one["relationshipType"] == "STATIC_LINK");
        links.map(|one| one["relatedSpdxElement"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("apid"), ["SPDXRef-Crate-apid-0.1.0", "SPDXRef-Crate-tokio-1.54.1"]);
    assert_eq!(of("skerry-init"), ["SPDXRef-Crate-tokio-1.54.1"]);
    assert_eq!(of("k3s"), Vec::<String>::new());
}

#[test]
fn an_image_whose_list_names_no_crates_of_ours_is_not_guessed_at() {
    let mut records = records();
    records[3].crates.clear();
    let release = release();
    let subject = Subject { file_name: "a.img", format: Format::Raw, sha256: Digest::of(b"image"), release: &release };
    let error = document(&subject, &records).expect_err("refused").to_string();
    assert!(error.contains("the crates in apid") && error.contains("build the image again"), "{error}");
}
