//! The sandbox image, made of this program itself: every device can start a pod, whatever archives it carries.
//!
//! A pod's first process holds the pod's namespaces and does nothing else. Run under the name `pause`, this program does that.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::json;

use super::digest::Digest;
use super::layout::Descriptor;
use super::store::{Store, StoreError};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Holds a pod's namespaces until it is killed. As first process of its namespace it leaves no zombies.
pub fn pause() -> ! {
    crate::sys::ignore_child_exits();
    loop {
        std::thread::park();
    }
}

/// Makes sure that the sandbox image is made of this program.
pub(super) async fn ensure_sandbox(store: &mut Store, program: &Path) -> Result<(), StoreError> {
    let image = build(&std::fs::read(program)?)?;
    if store.target_of(api::SANDBOX_IMAGE).await?.as_deref() == Some(image.target.digest.as_str()) {
        return Ok(());
    }
    for bytes in &image.contents {
        store.write(&Digest::of(bytes), bytes.len() as u64, &mut bytes.as_slice()).await?;
    }
    store.label(&image.target.digest, &image.references).await?;
    store.name(api::SANDBOX_IMAGE, &image.target).await
}

/// An image of one layer with one file.
struct Built {
    contents: [Vec<u8>; 3],
    references: BTreeMap<String, String>,
    target: Descriptor,
}

/// The same program gives the same image, bit for bit.
fn build(program: &[u8]) -> io::Result<Built> {
    let layer = layer(program)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let part =
        |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": part("application/vnd.oci.image.config.v1+json", &config),
        "layers": [part("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let label = |kind: &str, bytes: &[u8]| (format!("containerd.io/gc.ref.content.{kind}"), Digest::of(bytes).to_string());
    let references = BTreeMap::from([label("config", &config), label("l.0", &layer)]);
    let (media_type, digest, size) = (MANIFEST.to_owned(), Digest::of(&manifest), manifest.len() as i64);
    let target = Descriptor { media_type, digest, size, annotations: BTreeMap::new() };
    Ok(Built { contents: [layer, config, manifest], references, target })
}

fn layer(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "pause", program)?;
    tar.into_inner()
}

/// As container images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_image_is_the_same_every_time_and_names_its_parts() {
        let (once, again) = (build(b"program").expect("memory takes it"), build(b"program").expect("memory takes it"));
        assert_eq!(once.contents, again.contents);
        assert_ne!(once.target, build(b"other").expect("memory takes it").target);
        let manifest: serde_json::Value = serde_json::from_slice(&once.contents[2]).expect("it is JSON");
        assert_eq!(manifest["layers"][0]["digest"], once.references["containerd.io/gc.ref.content.l.0"]);
    }
}
