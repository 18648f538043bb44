//! Makes OCI image archives from single static programs: what `imager` puts into a runtime image and containerd imports.
//!
//! The same programs give the same bytes: every time is the epoch, every owner root, every map sorted.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One image: a single static program.
#[derive(Debug, Clone)]
pub struct Image {
    /// Full name, such as `registry.example/hello:latest`.
    pub name: String,
    /// The program's name in the image's root folder.
    pub program: String,
    /// The program.
    pub bytes: Vec<u8>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Content by its SHA-256 in hexadecimal digits.
#[derive(Debug, Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps `bytes` and returns their descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = hex::encode(Sha256::digest(&bytes));
        let descriptor = json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.0.insert(digest, bytes);
        descriptor
    }
}

/// Writes `images` for `architecture` (in OCI's words, `amd64`) as one archive.
pub fn write_archive(images: &[Image], architecture: &str, out: impl Write) -> io::Result<()> {
    let mut blobs = Blobs::default();
    let manifests = images.iter().map(|image| add_image(&mut blobs, image, architecture)).collect::<io::Result<Vec<_>>>()?;
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let mut tar = tar::Builder::new(out);
    append(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", 0o644, index.to_string().as_bytes())?;
    for (digest, bytes) in &blobs.0 {
        append(&mut tar, &format!("blobs/sha256/{digest}"), 0o644, bytes)?;
    }
    tar.finish()
}

/// Adds the image's layer, configuration and manifest; returns the index's entry for it.
fn add_image(blobs: &mut Blobs, image: &Image, architecture: &str) -> io::Result<Value> {
    let layer = layer(&image.program, &image.bytes)?;
    let layer_digest = hex::encode(Sha256::digest(&layer));
    let path = format!("/{}", image.program);
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [path], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": format!("COPY {path}")}],
    });
    let config = blobs.add(CONFIG, config.to_string().into_bytes());
    let layer = blobs.add(LAYER, layer);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut entry = blobs.add(MANIFEST, manifest.to_string().into_bytes());
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": tag(&image.name),
    });
    Ok(entry)
}

/// The tag of an image's name; a colon before the last slash belongs to the registry's port.
fn tag(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

fn layer(program: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, program, 0o755, bytes)?;
    tar.into_inner()
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn image(name: &str) -> Image {
        Image { name: name.into(), program: "hello".into(), bytes: b"\x7fELF program".to_vec() }
    }

    fn archive(images: &[Image]) -> BTreeMap<String, Vec<u8>> {
        let mut bytes = Vec::new();
        write_archive(images, "amd64", &mut bytes).unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        files
    }

    fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = &files[&format!("blobs/sha256/{digest}")];
        assert_eq!(hex::encode(Sha256::digest(bytes)), digest);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }

    #[test]
    fn every_descriptor_leads_to_what_it_says() {
        let files = archive(&[image("registry.example/hello:1.0")]);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "registry.example/hello:1.0");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "1.0");
        let manifest: Value = serde_json::from_slice(blob(&files, entry)).unwrap();
        let config: Value = serde_json::from_slice(blob(&files, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/hello"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = blob(&files, &manifest["layers"][0]);
        let mut tar = tar::Archive::new(layer);
        let first = tar.entries().unwrap().next().unwrap().unwrap();
        assert_eq!((first.path().unwrap().to_str(), first.header().mode().unwrap()), (Some("hello"), 0o755));
    }

    #[test]
    fn the_same_programs_give_the_same_bytes() {
        assert_eq!(archive(&[image("a"), image("b")]), archive(&[image("a"), image("b")]));
    }

    #[test]
    fn a_registrys_port_is_not_taken_for_a_tag() {
        assert_eq!(tag("registry.example:5000/team/app"), "latest");
        assert_eq!(tag("registry.example:5000/team/app:2"), "2");
    }
}
