//! Programs and libraries: for the board's processor, with everything they need to start.

use super::Problem;
use super::view::View;
use crate::board::Architecture;
use crate::components::arch;
use crate::components::elf::{ElfError, ElfFacts};

/// What is wrong with a file as a program. What nobody may run need not be one.
pub(super) fn problems(
    view: &View<'_>,
    board: Architecture,
    elf: &Result<Option<ElfFacts>, ElfError>,
    mode: u16,
) -> Vec<Problem> {
    let facts = match elf {
        Ok(Some(facts)) => facts,
        Ok(None) if mode & 0o111 != 0 => return vec![Problem::NotAProgram],
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Problem::BrokenElf(error.clone())],
    };
    if facts.machine != arch::elf_machine(board) {
        return vec![Problem::Architecture { found: arch::machine_name(facts.machine), expected: board }];
    }
    let loader = facts.interpreter.iter().filter(|path| view.resolve(path).is_none());
    let loader = loader.map(|interpreter| Problem::NoLoader { interpreter: interpreter.clone() });
    let libraries = facts.needed.iter().filter(|library| !has_library(view, board, library));
    loader.chain(libraries.map(|library| Problem::NoLibrary { library: library.clone() })).collect()
}

/// Where Debian's dynamic loader looks by itself.
fn has_library(view: &View<'_>, board: Architecture, library: &str) -> bool {
    let multiarch = arch::triplet(board);
    let folders = [format!("/lib/{multiarch}"), format!("/usr/lib/{multiarch}"), "/lib".into(), "/usr/lib".into()];
    folders.iter().any(|folder| view.resolve(&format!("{folder}/{library}")).is_some())
}
