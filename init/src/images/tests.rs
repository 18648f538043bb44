//! Archives made here, imported into a containerd made here: the real client over a real socket against stores in memory.

mod fake;

use std::path::Path;

use serde_json::{Value, json};

use self::fake::{Fake, serve};
use super::*;

/// A tar archive of named contents, in order.
fn tar_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Written by hand: the library refuses to make the hostile names that it must be able to read.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_slice()).expect("memory takes it");
    }
    tar.into_inner().expect("memory takes it")
}

fn blob(content: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/{}", Digest::of(content).as_str().replacen(':', "/", 1)), content.to_vec())
}

fn descriptor(content: &[u8], annotations: &Value) -> Value {
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(content), "size": content.len(), "annotations": annotations})
}

struct Layout {
    entries: Vec<(String, Vec<u8>)>,
    manifest: Vec<u8>,
    layer: Vec<u8>,
}

/// An OCI layout with one image, named by the annotations.
fn layout(annotations: &Value) -> Layout {
    let layer = vec![7; 600_000];
    let config = json!({"os": "linux", "rootfs": {"diff_ids": [Digest::of(&layer)]}}).to_string().into_bytes();
    let part = |content: &[u8]| json!({"mediaType": "x", "digest": Digest::of(content), "size": content.len()});
    let manifest = json!({"schemaVersion": 2, "config": part(&config), "layers": [part(&layer)]}).to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(&manifest, annotations)]}).to_string().into_bytes();
    let entries =
        vec![("oci-layout".into(), b"{}".to_vec()), ("index.json".into(), index), blob(&layer), blob(&config), blob(&manifest)];
    Layout { entries, manifest, layer }
}

fn named() -> Value {
    json!({"io.containerd.image.name": "registry.example/team/hello:1"})
}

/// Imports the archives, given by file name, and shows what came of it.
async fn run(fake: &Fake, folder: &Path, archives: &[(&str, Vec<u8>)]) -> Vec<String> {
    for (name, bytes) in archives {
        std::fs::write(folder.join(name), bytes).expect("the folder is ours");
    }
    let socket = serve(fake, folder).await;
    let mut store = Store::connect(&socket).await.expect("it listens");
    let record = folder.join("record/images.json");
    let pause = folder.join("pause");
    std::fs::write(&pause, "a program").expect("the folder is ours");
    let job = Job { folders: &[folder], record: &record, boot_image: "boot", pause: &pause };
    let outcomes = import_all(&mut store, job).await.expect("containerd is there");
    outcomes
        .into_iter()
        .map(|outcome| match outcome.result {
            Ok(names) => names.join(","),
            Err(error) => format!("{error}: {}", std::error::Error::source(&error).expect("it has a cause")),
        })
        .collect()
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temp folder")
}

#[tokio::test]
async fn an_oci_layout_is_imported_with_labels_that_keep_it() {
    let (fake, folder) = (Fake::default(), temp());
    let Layout { entries, manifest, layer } = layout(&named());
    let results = run(&fake, folder.path(), &[("hello.tar", tar_of(&entries))]).await;
    assert_eq!(results, ["registry.example/team/hello:1"]);
    let state = fake.state();
    let image = &state.images["registry.example/team/hello:1"];
    assert_eq!(image.target.as_ref().map(|target| target.digest.clone()), Some(Digest::of(&manifest).to_string()));
    assert_eq!(image.labels["io.cri-containerd.image"], "managed");
    assert_eq!(state.content[Digest::of(&layer).as_str()].bytes, layer);
    let labels = &state.content[Digest::of(&manifest).as_str()].labels;
    assert_eq!(labels["containerd.io/gc.ref.content.l.0"], Digest::of(&layer).to_string());
    assert!(state.leases.is_empty(), "the lease is given back");
    assert!(state.images.contains_key(api::SANDBOX_IMAGE), "the built-in sandbox image is there");
}

#[tokio::test]
async fn compressed_archives_and_names_in_the_other_annotation_are_understood() {
    let (fake, folder) = (Fake::default(), temp());
    let plain = tar_of(&layout(&json!({"org.opencontainers.image.ref.name": "team/hello"})).entries);
    let zstd = ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    let results = run(&fake, folder.path(), &[("a.tar.gz", gzip), ("b.tar.zst", zstd)]).await;
    assert_eq!(results, ["docker.io/team/hello:latest", "docker.io/team/hello:latest"]);
}

#[tokio::test]
async fn what_was_imported_is_not_read_again_until_it_changes_or_vanishes() {
    let (fake, folder) = (Fake::default(), temp());
    let archive = tar_of(&layout(&named()).entries);
    assert_eq!(run(&fake, folder.path(), &[("hello.tar", archive)]).await, ["registry.example/team/hello:1"]);
    let writes = fake.state().writes;
    assert_eq!(run(&fake, folder.path(), &[]).await, [""]);
    assert_eq!(fake.state().writes, writes);
    fake.state().images.remove("registry.example/team/hello:1");
    assert_eq!(run(&fake, folder.path(), &[]).await, ["registry.example/team/hello:1"]);
    assert_eq!(fake.state().writes, writes, "its content was still there");
}

#[tokio::test]
async fn a_docker_archive_gets_the_manifest_it_lacks() {
    let (fake, folder) = (Fake::default(), temp());
    let config = json!({"os": "linux"}).to_string().into_bytes();
    let docker =
        json!([{"Config": "abc.json", "RepoTags": ["hello:1", "team/hello:2"], "Layers": ["one/layer.tar", "one/layer.tar"]}]);
    let entries = [
        ("manifest.json".to_owned(), docker.to_string().into_bytes()),
        ("abc.json".to_owned(), config.clone()),
        ("one/layer.tar".to_owned(), vec![9; 1000]),
    ];
    let results = run(&fake, folder.path(), &[("d.tar", tar_of(&entries))]).await;
    assert_eq!(results, ["docker.io/library/hello:1,docker.io/team/hello:2"]);
    let state = fake.state();
    let target = state.images["docker.io/team/hello:2"].target.clone().expect("it has one");
    let manifest: Value = serde_json::from_slice(&state.content[&target.digest].bytes).expect("it is JSON");
    assert_eq!(manifest["config"]["digest"], Digest::of(&config).as_str());
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_archive_may_bring_the_sandbox_image() {
    let (fake, folder) = (Fake::default(), temp());
    let Layout { entries, manifest, .. } = layout(&json!({"io.containerd.image.name": api::SANDBOX_IMAGE}));
    for archives in [vec![("pause.tar", tar_of(&entries))], vec![]] {
        run(&fake, folder.path(), &archives).await;
        let target = fake.state().images[api::SANDBOX_IMAGE].target.clone().expect("it has one");
        assert_eq!(target.digest, Digest::of(&manifest).to_string());
    }
}

#[tokio::test]
async fn broken_and_hostile_archives_are_named_and_leave_no_image() {
    let good = layout(&named()).entries;
    let without = |wanted: &str| good.iter().filter(|(name, _)| !name.starts_with(wanted)).cloned().collect::<Vec<_>>();
    let mut flipped = good.clone();
    flipped[2].1[100] ^= 1;
    let mut escaping = good.clone();
    escaping.push(("../../etc/passwd".into(), b"root".to_vec()));
    let mut odd_blob = good.clone();
    odd_blob.push(("blobs/md5/abc".into(), b"x".to_vec()));
    let layer_name = good[2].0.clone();
    let cut = tar_of(&good)[..300_000].to_vec();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (tar_of(&flipped), "is damaged: it has the digest"),
        (tar_of(&escaping), "`../../etc/passwd` leads out of the archive"),
        (tar_of(&odd_blob), "blob `md5:abc` is not named by a sha256 digest"),
        (tar_of(&without("index.json")), "neither `index.json`"),
        (tar_of(&without(&layer_name)), "lacks content sha256:"),
        (tar_of(&layout(&json!({"org.opencontainers.image.ref.name": "latest"})).entries), "names none of its images"),
        (tar_of(&layout(&json!({"io.containerd.image.name": "Bad Name"})).entries), "wrong name"),
        (cut, "the archive ends in the middle of it"),
        (b"not a tar archive at all, but long enough to be taken for a header".repeat(20), "damaged or not a tar archive"),
        (tar_of(&[("index.json".into(), b"{".to_vec())]), "its index.json is not valid"),
    ];
    for (archive, expected) in cases {
        let (fake, folder) = (Fake::default(), temp());
        let results = run(
            &fake,
            folder.path(),
            &[("bad.tar", archive), ("good.tar", tar_of(&layout(&json!({"io.containerd.image.name": "ok/ok"})).entries))],
        )
        .await;
        assert!(results[0].contains(expected), "{} should say {expected}", results[0]);
        assert_eq!(results[1], "docker.io/ok/ok:latest", "the good archive comes in beside: {expected}");
        assert!(!fake.state().images.contains_key("registry.example/team/hello:1"));
    }
}
