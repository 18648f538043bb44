//! Programs and libraries: for the board's processor, with everything they need to start.

use super::Problem;
use super::view::View;
use crate::board::Architecture;
use crate::components::{arch, elf};

/// What is wrong with a file as a program; nothing when it is none.
pub(super) fn problems(view: &View<'_>, board: Architecture, bytes: &[u8]) -> Vec<Problem> {
    let facts = match elf::read(bytes) {
        Ok(Some(facts)) => facts,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Problem::BrokenElf(error)],
    };
    if facts.machine != arch::elf_machine(board) {
        return vec![Problem::Architecture { found: arch::machine_name(facts.machine), expected: board }];
    }
    let loader = facts.interpreter.filter(|path| view.resolve(path).is_none());
    let libraries = facts.needed.into_iter().filter(|library| !has_library(view, board, library));
    let loader = loader.map(|interpreter| Problem::NoLoader { interpreter });
    loader.into_iter().chain(libraries.map(|library| Problem::NoLibrary { library })).collect()
}

/// Where Debian's dynamic loader looks by itself.
fn has_library(view: &View<'_>, board: Architecture, library: &str) -> bool {
    let multiarch = arch::triplet(board);
    let folders = [format!("/lib/{multiarch}"), format!("/usr/lib/{multiarch}"), "/lib".into(), "/usr/lib".into()];
    folders.iter().any(|folder| view.resolve(&format!("{folder}/{library}")).is_some())
}
