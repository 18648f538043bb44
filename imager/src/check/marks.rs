//! Interpreters under another name: words that stand in their programs and in no others.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::Problem;

/// A word and whose it is. Words are long or odd enough that no other program is likely to hold them; each was seen in the programs as Debian
/// builds them. `SUBSEP` stands in every awk.
const MARKS: [(&str, &str); 42] = [
    ("BusyBox v1.", "busybox"),
    ("Toybox %s", "toybox"),
    ("toybox --long", "toybox"),
    ("GNU bash, version", "bash"),
    ("arithmetic expression: %s", "dash"),
    ("KSH_VERSION", "ksh"),
    ("POSH_VERSION", "posh"),
    ("ZSH_PATCHLEVEL", "zsh"),
    ("YASH_LOADPATH", "yash"),
    ("/etc/csh.cshrc", "csh"),
    ("__fish_print_help", "fish"),
    ("fish_greeting", "fish"),
    ("src.elv.sh/", "elvish"),
    ("Stand-alone shell (version", "sash"),
    ("/.rcrc", "rc"),
    ("PERL5LIB", "perl"),
    ("PYTHONHOME", "python"),
    ("MICROPYPATH", "micropython"),
    ("RUBYOPT", "ruby"),
    ("LUA_INIT", "lua"),
    ("PHP_INI_SCAN_DIR", "php"),
    ("TCL_LIBRARY", "tcl"),
    ("jim_interactive", "jim"),
    ("NODE_REPL_HISTORY", "node"),
    ("quickjs", "quickjs"),
    ("duk_context", "duktape"),
    ("Duktape", "duktape"),
    ("GUILE_LOAD_PATH", "guile"),
    ("TinyScheme 1.", "tinyscheme"),
    ("SBCL_HOME", "sbcl"),
    ("pforth.dic", "pforth"),
    ("SUBSEP", "awk"),
    ("GDBHISTFILE", "gdb"),
    ("VIMRUNTIME", "vim"),
    ("SOCAT_", "socat"),
    ("NCAT_PROTO", "ncat"),
    ("OpenBSD netcat", "netcat"),
    ("nc -h for help", "netcat"),
    ("permitrootlogin", "sshd"),
    ("dropbear_prng", "dropbear"),
    ("GFORTHPATH", "gforth"),
    ("packed with the UPX executable packer", "a packed program"),
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
        let programs = [
            ("bash", "/bin/bash"),
            ("dash", "/bin/dash"),
            ("perl", "/usr/bin/perl"),
            ("busybox", "/bin/busybox"),
            ("awk", "/usr/bin/mawk"),
            ("awk", "/usr/bin/gawk"),
        ];
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
