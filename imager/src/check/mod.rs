//! What no image may carry: shells, interpreters, exec tools, set-user-id files, programs for another processor or without their libraries.
//!
//! Run over the trees at every build, and over a finished image read back. It finds; it mends nothing.

mod elf;
mod marks;
mod names;
mod view;

use std::fmt;

use crate::board::Architecture;
use crate::components::elf::ElfError;
use crate::parallel;
use crate::tree::{Node, Tree, TreeError, TreePath};
use view::View;

/// The two trees of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What is in RAM.
    Initramfs,
    /// What is mounted at /usr.
    Runtime,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initramfs => "initramfs",
            Self::Runtime => "runtime image",
        })
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has the name of a shell or interpreter.
    #[error("it has the name of a shell or interpreter")]
    InterpreterName,
    /// It has the name of a tool that runs commands in containers or as somebody else.
    #[error("it has the name of a tool that runs commands of a caller's choice")]
    ExecTool,
    /// It begins with `#!`.
    #[error("it is a script")]
    Script,
    /// Its content is that of an interpreter.
    #[error("it holds `{mark}`, as {interpreter} does")]
    InterpreterContent {
        /// What was found in it.
        mark: &'static str,
        /// Whose mark that is.
        interpreter: &'static str,
    },
    /// Set-user-id or set-group-id.
    #[error("it is set-user-id or set-group-id (mode {mode:o})")]
    SetId {
        /// Its mode.
        mode: u16,
    },
    /// Anybody may change it.
    #[error("anybody may write to it (mode {mode:o})")]
    WorldWritable {
        /// Its mode.
        mode: u16,
    },
    /// For another processor.
    #[error("it is for {found}, the board is {expected}")]
    Architecture {
        /// The file's.
        found: String,
        /// The board's.
        expected: Architecture,
    },
    /// Begins like ELF, but is broken.
    #[error("{0}")]
    BrokenElf(#[from] ElfError),
    /// Its dynamic loader is not in the image.
    #[error("its loader {interpreter} is not in the image")]
    NoLoader {
        /// As the file names it.
        interpreter: String,
    },
    /// A library is not in the image.
    #[error("its library {library} is not in the image")]
    NoLibrary {
        /// As the file names it.
        library: String,
    },
    /// A link to nothing.
    #[error("it is a link to {target}, which is not in the image")]
    Dangling {
        /// As stored.
        target: String,
    },
    /// A part of containerd or k3s in RAM.
    #[error("it belongs into the runtime image, not into RAM")]
    NotForRam,
    /// The runtime image is mounted at /usr.
    #[error("it lies outside /usr, where the runtime image is mounted")]
    OutsideUsr,
}

/// A file that must not be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which tree.
    pub part: Part,
    /// Where.
    pub path: TreePath,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the {}: {}", self.path, self.part, self.problem)
    }
}

/// The trees of an image, paths as they are on the running device: the runtime tree's begin with `usr`.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What is in RAM.
    pub initramfs: &'a Tree,
    /// What is mounted at /usr.
    pub runtime: &'a Tree,
    /// The board's architecture.
    pub architecture: Architecture,
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Something is in it that must not be.
    #[error("cannot accept the image: {}", list(.0))]
    Refused(Vec<Finding>),
    /// A file could not be read to be checked.
    #[error(transparent)]
    Read(#[from] TreeError),
}

/// Findings named in one message; the others are counted.
const NAMED: usize = 3;

fn list(findings: &[Finding]) -> String {
    let mut text = findings.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if findings.len() > NAMED {
        text.push_str(&format!("; and {} more", findings.len() - NAMED));
    }
    text
}

/// Checks every file; an image with findings is refused.
pub fn check(subject: &Subject<'_>) -> Result<(), CheckError> {
    let findings = findings(subject)?;
    if findings.is_empty() { Ok(()) } else { Err(CheckError::Refused(findings)) }
}

/// Everything that is wrong, in order of part and path.
pub fn findings(subject: &Subject<'_>) -> Result<Vec<Finding>, TreeError> {
    let view = View { initramfs: subject.initramfs, runtime: subject.runtime };
    let in_part =
        |part, tree: &'_ Tree| -> Vec<_> { tree.iter().map(|(path, node)| (part, path.clone(), node.clone())).collect() };
    let entries = [in_part(Part::Initramfs, subject.initramfs), in_part(Part::Runtime, subject.runtime)].concat();
    let found = parallel::map(&entries, |(part, path, node)| {
        let problems = problems(&view, subject.architecture, *part, path, node)?;
        Ok::<_, TreeError>(
            problems.into_iter().map(|problem| Finding { part: *part, path: path.clone(), problem }).collect::<Vec<_>>(),
        )
    })?;
    Ok(found.into_iter().flatten().collect())
}

fn problems(view: &View<'_>, board: Architecture, part: Part, path: &TreePath, node: &Node) -> Result<Vec<Problem>, TreeError> {
    let mut problems = names::problems(part, path, node);
    match node {
        Node::File { content, mode } => {
            problems.extend(mode_problems(*mode));
            let bytes = content.read()?;
            problems.extend(bytes.starts_with(b"#!").then_some(Problem::Script));
            problems.extend(marks::find(&bytes));
            problems.extend(elf::problems(view, board, &bytes));
        }
        Node::Dir { mode } => problems.extend(mode_problems(*mode)),
        Node::Symlink { target } => {
            let found = view.resolve(path.as_str()).is_some();
            problems.extend((!found).then(|| Problem::Dangling { target: target.clone() }));
        }
    }
    Ok(problems)
}

fn mode_problems(mode: u16) -> impl Iterator<Item = Problem> {
    let set_id = (mode & 0o6000 != 0).then_some(Problem::SetId { mode });
    let writable = (mode & 0o002 != 0).then_some(Problem::WorldWritable { mode });
    set_id.into_iter().chain(writable)
}

#[cfg(test)]
mod tests;
