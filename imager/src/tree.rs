//! A file tree that is going to be an image: sorted, normalised, held in memory as facts about files.
//!
//! Everything an image carries passes through here, so that file order, time stamps, owners and the builder's umask
//! cannot reach it: a node has a mode and content, nothing else. It refuses paths that leave the tree, and two different nodes at
//! one path. Devices, sockets, hard links and extended attributes cannot be said.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A path inside a tree: no leading `/`, no `.`, `..` or empty component, never empty itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

impl TreePath {
    /// Normalises `path`: leading `/` and `./` are dropped. Refuses `..`, NUL and the root itself.
    pub fn new(path: &str) -> Result<Self, TreeError> {
        let bad = |reason| TreeError::Path { path: path.to_owned(), reason };
        if path.contains('\0') {
            return Err(bad("it holds a NUL byte"));
        }
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(bad("it holds `..`")),
                other => parts.push(other),
            }
        }
        if parts.is_empty() { Err(bad("it names the root")) } else { Ok(Self(parts.join("/"))) }
    }

    /// The text, without a leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder this lies in; none: the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// The whole of a regular file on the build machine, which must not change during the build.
    Path {
        /// Where it is.
        path: PathBuf,
    },
}

impl Content {
    /// The bytes; reads the file when they are not in memory.
    pub fn read(&self) -> Result<Cow<'_, [u8]>, TreeError> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Path { path } => {
                std::fs::read(path).map(Cow::Owned).map_err(|source| TreeError::Read { path: path.clone(), source })
            }
        }
    }

    /// Length in bytes, without reading them.
    pub fn len(&self) -> Result<u64, TreeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::Path { path } => {
                std::fs::metadata(path).map(|meta| meta.len()).map_err(|source| TreeError::Read { path: path.clone(), source })
            }
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> Result<bool, TreeError> {
        Ok(self.len()? == 0)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

/// One entry of a tree. Modes are the permission bits (`0o7777` at most). `C` is what is known of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<C = Content> {
    /// A regular file.
    File {
        /// Its bytes.
        content: C,
        /// Permission bits.
        mode: u16,
    },
    /// A symbolic link.
    Symlink {
        /// What it points at, as stored.
        target: String,
    },
    /// A folder.
    Dir {
        /// Permission bits.
        mode: u16,
    },
}

impl<C> Node<C> {
    fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "a file",
            Self::Symlink { .. } => "a link",
            Self::Dir { .. } => "a folder",
        }
    }
}

/// Why a tree cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A path that cannot stand in a tree.
    #[error("cannot use the path `{path}` in an image: {reason}")]
    Path {
        /// As given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two different nodes want one path.
    #[error("cannot put {new} at {path}: {old} is there already with other content")]
    Conflict {
        /// Where.
        path: TreePath,
        /// What is there.
        old: &'static str,
        /// What came second.
        new: &'static str,
    },
    /// A file or link stands where a folder is needed.
    #[error("cannot put anything below {path}: it is {found}, not a folder")]
    NotAFolder {
        /// The path that would have to be a folder.
        path: TreePath,
        /// What it is.
        found: &'static str,
    },
    /// A source file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file on the build machine.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A file tree: sorted by path; every parent of an entry is there as a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree<C = Content> {
    nodes: BTreeMap<TreePath, Node<C>>,
}

impl<C> Default for Tree<C> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

/// Mode of folders that appear because something lies in them.
pub const DEFAULT_DIR_MODE: u16 = 0o755;

impl Tree {
    /// An empty tree: the root folder alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    pub fn add_file(&mut self, path: &str, content: impl Into<Content>, mode: u16) -> Result<(), TreeError> {
        self.add(path, Node::File { content: content.into(), mode })
    }

    /// Adds a file whose bytes stay on disk until they are needed.
    pub fn add_path(&mut self, path: &str, source: impl Into<PathBuf>, mode: u16) -> Result<(), TreeError> {
        self.add(path, Node::File { content: Content::Path { path: source.into() }, mode })
    }

    /// Adds a symbolic link.
    pub fn add_symlink(&mut self, path: &str, target: impl Into<String>) -> Result<(), TreeError> {
        self.add(path, Node::Symlink { target: target.into() })
    }

    /// Adds a folder.
    pub fn add_dir(&mut self, path: &str, mode: u16) -> Result<(), TreeError> {
        self.add(path, Node::Dir { mode })
    }

    /// Adds everything of `other`, under the rules of [`Tree::add`].
    pub fn merge(&mut self, other: Self) -> Result<(), TreeError> {
        other.nodes.into_iter().try_for_each(|(path, node)| self.insert(path, node))
    }

    /// Puts a file in place of whatever file or link is at `path`; parents appear as needed.
    pub fn replace_file(&mut self, path: &str, content: impl Into<Content>, mode: u16) -> Result<(), TreeError> {
        let path = TreePath::new(path)?;
        if !matches!(self.nodes.get(&path), Some(Node::Dir { .. })) {
            self.nodes.remove(&path);
        }
        self.insert(path, Node::File { content: content.into(), mode })
    }
}

impl<C: PartialEq> Tree<C> {
    /// Adds a node and the folders above it. The same node twice is fine; a different one is a conflict. A folder over a folder keeps
    /// the first one's mode.
    pub fn add(&mut self, path: &str, node: Node<C>) -> Result<(), TreeError> {
        self.insert(TreePath::new(path)?, node)
    }

    /// The node at a normalised path.
    pub fn get(&self, path: &str) -> Option<&Node<C>> {
        self.nodes.get(&TreePath::new(path).ok()?)
    }

    /// All entries by path, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node<C>)> {
        self.nodes.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn insert(&mut self, path: TreePath, node: Node<C>) -> Result<(), TreeError> {
        if let Some(parent) = path.parent() {
            self.ensure_dir(parent)?;
        }
        match (self.nodes.get(&path), &node) {
            (None, _) => {
                self.nodes.insert(path, node);
                Ok(())
            }
            (Some(Node::Dir { .. }), Node::Dir { .. }) => Ok(()),
            (Some(old), new) if old == new => Ok(()),
            (Some(old), new) => Err(TreeError::Conflict { path, old: old.kind(), new: new.kind() }),
        }
    }

    fn ensure_dir(&mut self, path: TreePath) -> Result<(), TreeError> {
        match self.nodes.get(&path) {
            Some(Node::Dir { .. }) => Ok(()),
            Some(other) => Err(TreeError::NotAFolder { found: other.kind(), path }),
            None => self.insert(path, Node::Dir { mode: DEFAULT_DIR_MODE }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for path in ["", "/", ".", "..", "a/../b", "/..", "a\0b"] {
            assert!(TreePath::new(path).is_err(), "{path:?}");
        }
        for (given, kept) in [("/a/b", "a/b"), ("./a//b/", "a/b"), ("a", "a"), ("/a/./b", "a/b")] {
            assert_eq!(TreePath::new(given).expect(given).as_str(), kept);
        }
    }

    #[test]
    fn parents_appear_and_come_first() {
        let mut tree = Tree::new();
        tree.add_file("/usr/lib-extra", "x", 0o644).expect("added");
        tree.add_file("/usr/lib/deep/file", "x", 0o644).expect("added");
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["usr", "usr/lib", "usr/lib-extra", "usr/lib/deep", "usr/lib/deep/file"]);
    }

    #[test]
    fn two_different_nodes_at_one_path_conflict() {
        let mut tree = Tree::new();
        tree.add_file("a", "1", 0o644).expect("added");
        tree.add_file("a", "1", 0o644).expect("the same again is fine");
        assert!(matches!(tree.add_file("a", "2", 0o644), Err(TreeError::Conflict { .. })));
        assert!(matches!(tree.add_file("a", "1", 0o755), Err(TreeError::Conflict { .. })));
        assert!(matches!(tree.add_dir("a", 0o755), Err(TreeError::Conflict { .. })));
        assert!(matches!(tree.add_file("a/b", "1", 0o644), Err(TreeError::NotAFolder { .. })));
    }

    #[test]
    fn merge_is_blind_to_order() {
        let mut left = Tree::new();
        left.add_file("x/1", "1", 0o644).expect("added");
        let mut right = Tree::new();
        right.add_symlink("x/2", "1").expect("added");
        let mut one = left.clone();
        one.merge(right.clone()).expect("merged");
        right.merge(left).expect("merged");
        assert_eq!(one, right);
    }

    #[test]
    fn replacing_needs_no_conflict_but_never_a_folder() {
        let mut tree = Tree::new();
        tree.add_file("a", "1", 0o644).expect("added");
        tree.replace_file("a", "2", 0o755).expect("replaced");
        assert_eq!(tree.get("/a"), Some(&Node::File { content: "2".into(), mode: 0o755 }));
        tree.add_dir("d", 0o755).expect("added");
        assert!(tree.replace_file("d", "2", 0o755).is_err());
    }
}
