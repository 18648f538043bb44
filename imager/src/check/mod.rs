//! What no image may carry: shells, interpreters, exec tools, set-user-id files, programs for another processor or without their libraries.
//!
//! Run over the trees at every build, and over a finished image read back. It finds; it mends nothing.

mod elf;
mod facts;
mod marks;
mod names;
mod view;

use std::fmt;

use crate::board::Architecture;
use crate::components::elf::ElfError;
use crate::tree::{Node, Tree, TreePath};
pub use facts::Facts;
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
    /// It may be run, but is no program: a text, or a web page saved under a program's name.
    #[error("it is executable, but not an ELF program")]
    NotAProgram,
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
    /// A link out of what is read-only.
    #[error("it is a link to {target}, where the device can write")]
    Writable {
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
    pub initramfs: &'a Tree<Facts>,
    /// What is mounted at /usr.
    pub runtime: &'a Tree<Facts>,
    /// The board's architecture.
    pub architecture: Architecture,
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot accept the image: {}", list(.0))]
pub struct CheckError(Vec<Finding>);

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
    let findings = findings(subject);
    if findings.is_empty() { Ok(()) } else { Err(CheckError(findings)) }
}

/// Everything that is wrong, in order of part and path.
pub fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let part = |part, tree| {
        let checker = Checker { part, subject: *subject };
        Tree::iter(tree).flat_map(move |(path, node): (&TreePath, &Node<Facts>)| {
            checker.problems(path, node).into_iter().map(move |problem| Finding { part, path: path.clone(), problem })
        })
    };
    part(Part::Initramfs, subject.initramfs).chain(part(Part::Runtime, subject.runtime)).collect()
}

/// Checks the entries of one part.
#[derive(Clone, Copy)]
struct Checker<'a> {
    part: Part,
    subject: Subject<'a>,
}

impl Checker<'_> {
    fn problems(&self, path: &TreePath, node: &Node<Facts>) -> Vec<Problem> {
        let mut problems = names::problems(self.part, path, node);
        match node {
            Node::File { content, mode } => {
                problems.extend(mode_problems(*mode));
                problems.extend(content.script.then_some(Problem::Script));
                problems.extend(content.mark.clone());
                problems.extend(elf::problems(&self.view_of_programs(), self.subject.architecture, &content.elf, *mode));
            }
            Node::Dir { mode } => problems.extend(mode_problems(*mode)),
            Node::Symlink { target } => problems.extend(self.link_problem(path, target)),
        }
        problems
    }

    /// Where a part's programs find their libraries: those in RAM start before anything is mounted at /usr.
    fn view_of_programs(&self) -> View<'_> {
        let runtime = match self.part {
            Part::Initramfs => None,
            Part::Runtime => Some(self.subject.runtime),
        };
        View { initramfs: self.subject.initramfs, runtime }
    }

    fn link_problem(&self, path: &TreePath, target: &str) -> Option<Problem> {
        let view = View { initramfs: self.subject.initramfs, runtime: Some(self.subject.runtime) };
        let target = target.to_owned();
        match (view.resolve(path.as_str()), self.part) {
            (None, _) => Some(Problem::Dangling { target }),
            (Some(found), Part::Runtime) if !found.is_below("usr") => Some(Problem::Writable { target }),
            (Some(_), Part::Runtime | Part::Initramfs) => None,
        }
    }
}

fn mode_problems(mode: u16) -> impl Iterator<Item = Problem> {
    let set_id = (mode & 0o6000 != 0).then_some(Problem::SetId { mode });
    let writable = (mode & 0o002 != 0).then_some(Problem::WorldWritable { mode });
    set_id.into_iter().chain(writable)
}

#[cfg(test)]
mod tests;
