//! Compiles the few static C programs that the tests put into guests. One wrapper for one tool: the architecture's C compiler.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use imager::board::Architecture;

/// Why a C program could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler is not there.
    #[error("cannot run `{compiler}`: {source}; `make setup` installs it")]
    Start {
        /// The compiler's name.
        compiler: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused.
    #[error("cannot compile {program}:\n{messages}")]
    Refused {
        /// The source file.
        program: PathBuf,
        /// What the compiler said.
        messages: String,
    },
}

/// The compiler of an architecture's programs, by the name the host gives it.
fn compiler(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "cc",
        Architecture::Aarch64 => "aarch64-linux-gnu-gcc",
    }
}

fn arguments(program: &Path, out: &Path) -> Vec<OsString> {
    let mut list: Vec<OsString> =
        ["-static", "-Os", "-s", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none", "-o"].map(Into::into).into();
    list.push(out.into());
    list.push(program.into());
    list
}

/// Compiles `program` to a static executable of `architecture` at `out`; the same source gives the same bytes.
pub fn compile(program: &Path, architecture: Architecture, out: &Path) -> Result<(), CompileError> {
    let compiler = compiler(architecture);
    let output = Command::new(compiler)
        .args(arguments(program, out))
        .output()
        .map_err(|source| CompileError::Start { compiler, source })?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(CompileError::Refused { program: program.into(), messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_static_and_carry_nothing_of_the_build() {
        let list = arguments(Path::new("a.c"), Path::new("a"));
        assert_eq!(list.first(), Some(&"-static".into()));
        assert!(list.contains(&"-Wl,--build-id=none".into()));
        assert_eq!(list[list.len() - 3..], ["-o", "a", "a.c"].map(OsString::from));
    }

    #[test]
    fn a_broken_program_is_refused_with_the_compilers_words() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("broken.c");
        std::fs::write(&program, "int main(void) { return nothing; }\n").unwrap();
        let error = compile(&program, Architecture::X86_64, &folder.path().join("broken")).unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
    }
}
