//! Interpreters under another name: words that stand in their programs and in no others.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::Problem;

/// A word and whose it is. Words are long enough that no other program is likely to hold them.
const MARKS: [(&str, &str); 15] = [
    ("BusyBox v1.", "busybox"),
    ("toybox --long", "toybox"),
    ("GNU bash, version", "bash"),
    ("arithmetic expression: %s", "dash"),
    ("KSH_VERSION", "ksh"),
    ("ZSH_PATCHLEVEL", "zsh"),
    ("fish_user_paths", "fish"),
    ("PERL5LIB", "perl"),
    ("PYTHONHOME", "python"),
    ("RUBYOPT", "ruby"),
    ("LUA_INIT", "lua"),
    ("PHP_INI_SCAN_DIR", "php"),
    ("TCLLIBPATH", "tcl"),
    ("NODE_REPL_HISTORY", "node"),
    ("AWKPATH", "awk"),
];

static FINDER: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(MARKS.map(|(mark, _)| mark)).expect("a few short words make a small automaton"));

/// The first mark in an ELF file's bytes.
pub(super) fn find(bytes: &[u8]) -> Option<Problem> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let (mark, interpreter) = MARKS[FINDER.find(bytes)?.pattern().as_usize()];
    Some(Problem::InterpreterContent { mark, interpreter })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn interpreters_of_this_machine_are_recognised() {
        let programs = [("bash", "/bin/bash"), ("dash", "/bin/dash"), ("perl", "/usr/bin/perl"), ("busybox", "/bin/busybox")];
        for (interpreter, path) in programs.into_iter().filter(|(_, path)| Path::new(path).exists()) {
            let found = find(&std::fs::read(path).expect("read"));
            assert!(
                matches!(found, Some(Problem::InterpreterContent { interpreter: other, .. }) if other == interpreter),
                "{path}: {found:?}"
            );
        }
    }

    #[test]
    fn other_programs_pass() {
        for path in
            ["/bin/mount", "/bin/ls", "/sbin/mkfs.ext4", "/sbin/fsck.ext4"].into_iter().filter(|path| Path::new(path).exists())
        {
            assert_eq!(find(&std::fs::read(path).expect("read")), None, "{path}");
        }
        assert_eq!(find(b"a text about PYTHONHOME"), None);
    }
}
