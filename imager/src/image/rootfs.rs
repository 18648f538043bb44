//! The two trees of an image as docs/architecture.md draws them: the root in RAM, and what is mounted at its /usr.

use crate::board::Architecture;
use crate::tree::{Content, Node, Tree, TreeError};

/// Folders that are there to be mounted over or written to.
const FOLDERS: [&str; 9] = ["etc", "dev", "proc", "sys", "run", "tmp", "var", "mnt", "usr"];
/// Links into the runtime image.
const LINKS: [&str; 3] = ["bin", "sbin", "lib"];
/// One more where programs name their loader below it.
const LINK_64: &str = "lib64";
const PROGRAM: u16 = 0o755;
const DATA: u16 = 0o644;

/// Where the component list lies, on the running device.
pub const COMPONENTS_PATH: &str = "usr/share/skerry/components.json";
/// Where `skerry-images` lies, on the running device.
pub const IMAGES_IMPORTER_PATH: &str = "usr/bin/skerry-images";

/// What is in RAM.
#[derive(Debug, Clone)]
pub struct RootParts {
    /// PID 1.
    pub init: Content,
    /// The API daemon.
    pub apid: Content,
    /// For which architecture.
    pub architecture: Architecture,
    /// Text of release.json.
    pub release: String,
    /// Modules and firmware of the board, below `skerry/`.
    pub hardware: Tree,
}

/// The tree of the initramfs.
pub fn root(parts: RootParts) -> Result<Tree, TreeError> {
    let mut tree = parts.hardware;
    for folder in FOLDERS {
        tree.add_dir(folder, PROGRAM)?;
    }
    let more = match parts.architecture {
        Architecture::X86_64 => Some(LINK_64),
        Architecture::Aarch64 => None,
    };
    for link in LINKS.into_iter().chain(more) {
        tree.add_symlink(link, format!("usr/{link}"))?;
    }
    tree.add_file("init", parts.init, PROGRAM)?;
    tree.add_file("skerry/apid", parts.apid, PROGRAM)?;
    tree.add_file(super::release::PATH, parts.release.as_str(), DATA)?;
    Ok(tree)
}

/// The tree at /usr: components, the image importer, the list of components.
pub fn runtime(components: Tree, images_importer: Content, list: &str) -> Result<Tree, TreeError> {
    let mut tree = components;
    tree.add_file(IMAGES_IMPORTER_PATH, images_importer, PROGRAM)?;
    tree.add_file(COMPONENTS_PATH, list, DATA)?;
    Ok(tree)
}

/// The runtime tree as the image holds it: without the leading `usr`. The caller's check has refused what lies elsewhere.
pub fn without_usr(tree: &Tree) -> Result<Tree, TreeError> {
    let mut image = Tree::new();
    for (path, node) in tree.iter() {
        if let Some(inside) = path.as_str().strip_prefix("usr/") {
            image.add(inside, node.clone())?;
        }
    }
    Ok(image)
}

/// The runtime tree as the device sees it, from an image read back.
pub fn with_usr<C: Clone + PartialEq>(image: &Tree<C>) -> Result<Tree<C>, TreeError> {
    let mut tree = Tree::default();
    tree.add("usr", Node::Dir { mode: PROGRAM })?;
    for (path, node) in image.iter() {
        tree.add(&format!("usr/{}", path.as_str()), node.clone())?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> RootParts {
        let mut hardware = Tree::new();
        hardware.add_file("skerry/modules/modules.json", "{}", 0o644).expect("added");
        RootParts {
            init: "init".into(),
            apid: "apid".into(),
            architecture: Architecture::X86_64,
            release: "{}\n".into(),
            hardware,
        }
    }

    #[test]
    fn the_root_is_what_the_architecture_draws() {
        let paths: Vec<_> = root(parts()).expect("made").iter().map(|(path, _)| path.as_str().to_owned()).collect();
        let drawn = "apid release.json modules modules/modules.json".split(' ').map(|name| format!("skerry/{name}"));
        let mut expected: Vec<_> =
            FOLDERS.iter().chain(&LINKS).chain([&LINK_64]).map(|name| (*name).to_owned()).chain(drawn).collect();
        expected.extend(["init".to_owned(), "skerry".to_owned()]);
        expected.sort();
        assert_eq!(paths, expected);
    }

    #[test]
    fn usr_goes_and_comes_back() {
        let mut components = Tree::new();
        components.add_file("usr/bin/runc", "x", 0o755).expect("added");
        let tree = runtime(components, "y".into(), "[]").expect("made");
        let image = without_usr(&tree).expect("made");
        assert!(image.get("bin/runc").is_some() && image.get("share/skerry/components.json").is_some());
        assert_eq!(with_usr(&image).expect("made"), tree);
    }
}
