//! From what an archive holds to the images in it: names, targets, and which content keeps which. Pure.
//!
//! Reads OCI image layouts (`index.json`) and docker archives (`manifest.json`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;

use super::collect::{Collected, File};
use super::digest::Digest;
use super::reference::{ReferenceError, normalize};

/// Nested indexes are rare and shallow.
const DEPTH: usize = 4;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It is neither of the two forms.
    #[error("it holds neither `index.json` (OCI layout) nor `manifest.json` (docker archive)")]
    NoIndex,
    /// A document cannot be understood.
    #[error("its {what} is not valid: {source}")]
    Document {
        /// Which.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Something an image needs is not there.
    #[error("it lacks {what} {digest} of image {image}: make the archive again, with all platforms it lists or one alone")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its digest or name.
        digest: String,
        /// Of which image.
        image: String,
    },
    /// A blob is not named by its digest.
    #[error("its blob `{0}` is not named by a sha256 digest")]
    BlobName(String),
    /// No image in it has a name.
    #[error("it names none of its images: set `io.containerd.image.name` or `org.opencontainers.image.ref.name` in its index")]
    NoNames,
    /// A name is not one.
    #[error("it holds a wrong name: {0}")]
    Name(#[from] ReferenceError),
    /// Indexes point at indexes without end.
    #[error("its indexes are nested more than {DEPTH} deep")]
    TooDeep,
}

/// Points at content, as OCI descriptors do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: i64,
    /// Names and other facts.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// A manifest or an index: whichever fields are there.
#[derive(Debug, Default, Deserialize)]
struct Node {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// An image to be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) target: Descriptor,
}

/// A document that the archive implies but does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
}

/// What is to be done once all content of the archive is with containerd.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) generated: Vec<Document>,
    /// Content to the labels by which the garbage collector finds what it refers to.
    pub(super) references: BTreeMap<Digest, BTreeMap<String, String>>,
    pub(super) images: Vec<Image>,
}

/// Finds the images in an archive.
pub(super) fn plan(collected: &Collected) -> Result<Plan, LayoutError> {
    let mut plan = Plan::default();
    match (&collected.index, &collected.docker) {
        (Some(index), docker) => {
            add_layout(collected, index, &mut plan)?;
            // Older docker wrote names into its own manifest only.
            if let (true, Some(docker)) = (plan.images.is_empty(), docker) {
                add_docker(collected, docker, &mut plan)?;
            }
        }
        (None, Some(docker)) => add_docker(collected, docker, &mut plan)?,
        (None, None) => return Err(LayoutError::NoIndex),
    }
    if plan.images.is_empty() { Err(LayoutError::NoNames) } else { Ok(plan) }
}

fn add_layout(collected: &Collected, index: &[u8], plan: &mut Plan) -> Result<(), LayoutError> {
    let index: Index = parse("index.json", index)?;
    for target in index.manifests {
        if let Some(name) = name_of(&target)? {
            refer(collected, &name, &target, 0, plan)?;
            plan.images.push(Image { name, target });
        }
    }
    Ok(())
}

/// containerd's own annotation holds a full name; OCI's holds one, or only a tag, which names nothing.
fn name_of(target: &Descriptor) -> Result<Option<String>, LayoutError> {
    let annotation = |key: &str| target.annotations.get(key);
    let short = annotation("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':']));
    let name = annotation("io.containerd.image.name").or(short);
    Ok(name.map(|name| normalize(name)).transpose()?)
}

/// Notes what `target` refers to, and what that refers to in turn.
fn refer(collected: &Collected, image: &str, target: &Descriptor, depth: usize, plan: &mut Plan) -> Result<(), LayoutError> {
    if depth > DEPTH {
        return Err(LayoutError::TooDeep);
    }
    let missing = |what, digest: &Digest| LayoutError::Missing { what, digest: digest.to_string(), image: image.to_owned() };
    let bytes = collected.documents.get(&target.digest).ok_or_else(|| missing("manifest", &target.digest))?;
    let node: Node = parse(target.digest.as_str(), bytes)?;
    // Of an index with many platforms an archive may hold just one; but it must hold one.
    let present: Vec<&Descriptor> = node.manifests.iter().filter(|child| collected.blobs.contains_key(&child.digest)).collect();
    if let (Some(first), true) = (node.manifests.first(), present.is_empty()) {
        return Err(missing("manifest", &first.digest));
    }
    if let Some(lost) = node.config.iter().chain(&node.layers).find(|part| !collected.blobs.contains_key(&part.digest)) {
        return Err(missing("content", &lost.digest));
    }
    plan.references.insert(target.digest.clone(), references(&node));
    present.into_iter().try_for_each(|child| refer(collected, image, child, depth + 1, plan))
}

fn references(node: &Node) -> BTreeMap<String, String> {
    let label = |kind: String, part: &Descriptor| (format!("containerd.io/gc.ref.content.{kind}"), part.digest.to_string());
    let config = node.config.iter().map(|config| label("config".to_owned(), config));
    let layers = node.layers.iter().enumerate().map(|(n, layer)| label(format!("l.{n}"), layer));
    let manifests = node.manifests.iter().enumerate().map(|(n, manifest)| label(format!("m.{n}"), manifest));
    config.chain(layers).chain(manifests).collect()
}

fn add_docker(collected: &Collected, docker: &[u8], plan: &mut Plan) -> Result<(), LayoutError> {
    let images: Vec<DockerImage> = parse("manifest.json", docker)?;
    let mut seen = BTreeSet::new();
    for image in images {
        let tags = image.repo_tags.clone().unwrap_or_default();
        let Some(first) = tags.first() else { continue };
        let manifest = docker_manifest(collected, first, &image)?;
        let target = Descriptor {
            media_type: DOCKER_MANIFEST.to_owned(),
            digest: manifest.digest.clone(),
            size: manifest.bytes.len() as i64,
            annotations: BTreeMap::new(),
        };
        plan.references.insert(manifest.digest.clone(), references(&parse("generated manifest", &manifest.bytes)?));
        if seen.insert(manifest.digest.clone()) {
            plan.generated.push(manifest);
        }
        for tag in &tags {
            plan.images.push(Image { name: normalize(tag)?, target: target.clone() });
        }
    }
    Ok(())
}

/// The manifest that a docker archive's image would have in a registry.
fn docker_manifest(collected: &Collected, image: &str, docker: &DockerImage) -> Result<Document, LayoutError> {
    let find = |what, name: &String| {
        let file = collected.file(name);
        file.ok_or_else(|| LayoutError::Missing { what, digest: name.clone(), image: image.to_owned() })
    };
    let config = find("configuration", &docker.config)?;
    let layers = docker.layers.iter().map(|layer| find("layer", layer).map(|file| describe(collected, layer_type(file), file)));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": describe(collected, DOCKER_CONFIG, config),
        "layers": layers.collect::<Result<Vec<_>, _>>()?,
    });
    let bytes = manifest.to_string().into_bytes();
    Ok(Document { digest: Digest::of(&bytes), bytes })
}

fn layer_type(file: &File) -> &'static str {
    if file.start.starts_with(&[0x1f, 0x8b]) { "application/vnd.docker.image.rootfs.diff.tar.gzip" } else { DOCKER_LAYER }
}

fn describe(collected: &Collected, media_type: &str, file: &File) -> serde_json::Value {
    json!({"mediaType": media_type, "size": collected.blobs.get(&file.digest), "digest": file.digest})
}

fn parse<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Document { what: what.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collected(index: Option<Vec<u8>>, docker: Option<Vec<u8>>, document: Vec<u8>) -> Collected {
        let digest = Digest::of(&document);
        let mut collected = Collected { index, docker, ..Collected::default() };
        collected.blobs.insert(digest.clone(), document.len() as u64);
        collected.documents.insert(digest, document);
        collected
    }

    /// JSON that looks like the documents of an archive, with anything in it.
    fn document() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof!["[a-z:/.]{0,20}", Just(Digest::of(b"{}").to_string())];
        let descriptor = (word.clone(), word).prop_map(|(name, digest)| {
            json!({"digest": digest, "size": 1, "annotations": {"io.containerd.image.name": name}, "Config": name, "RepoTags": [name]})
        });
        let list = prop::collection::vec(descriptor.clone(), 0..3);
        let node = (list, descriptor).prop_map(|(list, one)| json!({"manifests": list.clone(), "layers": list, "config": one}));
        prop_oneof![node.prop_map(|node| node.to_string().into_bytes()), prop::collection::vec(any::<u8>(), 0..50)]
    }

    proptest! {
        #[test]
        fn no_document_breaks_the_plan(index in document(), docker in document(), other in document()) {
            let _ = plan(&collected(Some(index.clone()), Some(docker.clone()), other.clone()));
            let _ = plan(&collected(None, Some(docker), other));
        }
    }

    #[test]
    fn an_index_nested_without_end_is_refused() {
        let mut collected = Collected::default();
        let mut document = b"{}".to_vec();
        for _ in 0..=DEPTH + 1 {
            let child = json!({"digest": Digest::of(&document), "size": document.len()});
            collected.blobs.insert(Digest::of(&document), 1);
            collected.documents.insert(Digest::of(&document), document);
            document = json!({"manifests": [child]}).to_string().into_bytes();
        }
        let named = json!({"io.containerd.image.name": "a/b"});
        let top = json!({"digest": Digest::of(&document), "size": 1, "annotations": named});
        collected.documents.insert(Digest::of(&document), document);
        collected.index = Some(json!({"manifests": [top]}).to_string().into_bytes());
        assert!(matches!(plan(&collected), Err(LayoutError::TooDeep)));
    }

    #[test]
    fn links_in_a_circle_end_nowhere() {
        let mut collected = Collected::default();
        for (from, to) in [("a", "b"), ("b", "a"), ("c", "c")] {
            collected.links.insert(from.to_owned(), to.to_owned());
        }
        assert_eq!(collected.file("a").or(collected.file("c")), None);
    }
}
