//! What the check has to know of a file's bytes, so that it need not keep them: an image of any size is checked one file at a time.

use super::Problem;
use super::marks;
use crate::components::elf::{self, ElfError, ElfFacts};
use crate::parallel;
use crate::tree::{Node, Tree, TreeError};

/// The facts of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// It begins with `#!`.
    pub(super) script: bool,
    /// It holds the mark of an interpreter.
    pub(super) mark: Option<Problem>,
    /// As a program or library; nothing when it is none.
    pub(super) elf: Result<Option<ElfFacts>, ElfError>,
}

impl Facts {
    /// Reads them off a file's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { script: bytes.starts_with(b"#!"), mark: marks::find(bytes), elf: elf::read(bytes) }
    }

    /// The tree with facts in place of bytes; each file is read once, on all cores.
    pub fn of_tree(tree: &Tree) -> Result<Tree<Self>, TreeError> {
        let entries: Vec<_> = tree.iter().collect();
        let nodes = parallel::map(&entries, |(_, node)| {
            Ok(match node {
                Node::File { content, mode } => Node::File { content: Self::of(&content.read()?), mode: *mode },
                Node::Symlink { target } => Node::Symlink { target: target.clone() },
                Node::Dir { mode } => Node::Dir { mode: *mode },
            })
        })?;
        let mut facts = Tree::default();
        entries.iter().zip(nodes).try_for_each(|((path, _), node)| facts.add(path.as_str(), node))?;
        Ok(facts)
    }
}
