//! Static pods: the part of a pod's manifest that the stand-in understands.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A pod.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    /// Its names.
    pub(crate) metadata: Metadata,
    /// What it runs.
    pub(crate) spec: Spec,
}

/// A pod's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    /// Its name.
    pub(crate) name: String,
    /// Its namespace.
    #[serde(default = "default_namespace")]
    pub(crate) namespace: String,
}

/// What a pod runs.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Spec {
    /// Its containers.
    pub(crate) containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Container {
    /// Its name.
    pub(crate) name: String,
    /// Its image.
    pub(crate) image: String,
    /// Instead of the image's entry point.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Instead of the image's arguments.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Its environment.
    #[serde(default)]
    pub(crate) env: Vec<Variable>,
}

/// An environment variable.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    #[serde(default)]
    pub(crate) value: String,
}

fn default_namespace() -> String {
    "default".into()
}

/// Reads the pods in `folder`, by file name; a folder that is not there holds none.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<Pod>> {
    let cannot = || format!("cannot read static pods in {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(cannot),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().with_context(cannot)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Pod> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read static pod {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot parse static pod {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_as_people_write_it_is_understood() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: hello}\nspec:\n  hostNetwork: true\n  containers:\n  - name: hello\n    \
            image: registry.example/hello:latest\n    imagePullPolicy: Never\n    env: [{name: A, value: b}]\n";
        let pod: Pod = serde_saphyr::from_str(text).unwrap();
        assert_eq!((pod.metadata.namespace.as_str(), pod.spec.containers[0].env[0].value.as_str()), ("default", "b"));
    }

    #[test]
    fn a_folder_that_is_not_there_holds_no_pods() {
        assert!(read_folder(Path::new("/nowhere/at/all")).unwrap().is_empty());
    }
}
