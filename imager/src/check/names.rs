//! Names that must not appear, and places where some names must not.

use super::Facts;
use super::{Part, Problem};
use crate::tree::{Node, TreePath};

/// Shells and interpreters, less a version at the end (`python3.13` is `python`).
const INTERPRETERS: [&str; 63] = [
    "sh",
    "bash",
    "rbash",
    "dash",
    "ash",
    "hush",
    "zsh",
    "ksh",
    "mksh",
    "lksh",
    "pdksh",
    "csh",
    "tcsh",
    "fish",
    "elvish",
    "nu",
    "pwsh",
    "busybox",
    "toybox",
    "perl",
    "python",
    "pypy",
    "ruby",
    "irb",
    "lua",
    "luajit",
    "php",
    "php-cgi",
    "node",
    "nodejs",
    "deno",
    "bun",
    "tclsh",
    "wish",
    "expect",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "original-awk",
    "guile",
    "gdb",
    "ed",
    "vi",
    "vim",
    "emacs",
    "sed",
    "posh",
    "yash",
    "rc",
    "es",
    "sash",
    "xonsh",
    "jimsh",
    "micropython",
    "qjs",
    "duk",
    "tinyscheme",
    "sbcl",
    "gforth",
    "escript",
    "m4",
    "make",
];

/// Libraries that are an interpreter.
const INTERPRETER_LIBRARIES: [&str; 8] =
    ["libpython", "libperl", "libruby", "liblua", "libluajit", "libtcl", "libphp", "libguile"];

/// Tools that run what a caller names: in a container, on another machine, as another user, at another time; and logins.
const EXEC_TOOLS: [&str; 64] = [
    "ctr",
    "crictl",
    "kubectl",
    "nerdctl",
    "docker",
    "podman",
    "buildah",
    "skopeo",
    "bwrap",
    "machinectl",
    "systemd-run",
    "run0",
    "nsenter",
    "unshare",
    "chroot",
    "pivot_root",
    "switch_root",
    "run-init",
    "setpriv",
    "capsh",
    "setarch",
    "runuser",
    "su",
    "sg",
    "newgrp",
    "sudo",
    "doas",
    "pkexec",
    "login",
    "sulogin",
    "getty",
    "agetty",
    "mingetty",
    "sshd",
    "ssh",
    "dropbear",
    "dbclient",
    "telnetd",
    "rshd",
    "inetd",
    "xinetd",
    "socat",
    "nc",
    "ncat",
    "netcat",
    "env",
    "xargs",
    "find",
    "nohup",
    "setsid",
    "timeout",
    "nice",
    "ionice",
    "chrt",
    "taskset",
    "prlimit",
    "flock",
    "script",
    "watch",
    "stdbuf",
    "strace",
    "start-stop-daemon",
    "crond",
    "cron",
];

/// Names that belong into the runtime image alone.
const RUNTIME_ONLY: [&str; 6] = ["containerd", "runc", "k3s", "ctr", "cni", "skerry-images"];

/// What is wrong with where an entry lies and what it is called.
pub(super) fn problems(part: Part, path: &TreePath, node: &Node<Facts>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = path.file_name();
    let callable = match node {
        Node::File { mode, .. } => mode & 0o111 != 0,
        Node::Symlink { .. } => true,
        Node::Dir { .. } => false,
    };
    let program = callable && [name, without_version(name)].iter().any(|name| INTERPRETERS.contains(name));
    let library = !matches!(node, Node::Dir { .. }) && INTERPRETER_LIBRARIES.iter().any(|library| is_library(name, library));
    if program || library {
        problems.push(Problem::InterpreterName);
    }
    if callable && EXEC_TOOLS.contains(&name) {
        problems.push(Problem::ExecTool);
    }
    match part {
        Part::Initramfs if belongs_to_runtime(path, name) => problems.push(Problem::NotForRam),
        Part::Runtime if path.as_str() != "usr" && !path.as_str().starts_with("usr/") => problems.push(Problem::OutsideUsr),
        Part::Initramfs | Part::Runtime => {}
    }
    problems
}

fn without_version(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'))
}

/// `libpython3.13.so.1` is `libpython`; `libluks.so` is not `liblua`, and `libtclient.so` not `libtcl`.
fn is_library(name: &str, library: &str) -> bool {
    let rest = name.strip_prefix(library);
    rest.is_some_and(|rest| rest.contains(".so") && !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn belongs_to_runtime(path: &TreePath, name: &str) -> bool {
    let named =
        RUNTIME_ONLY.iter().any(|other| name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
    named || path.as_str().starts_with("usr/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(part: Part, path: &str, mode: u16) -> Vec<Problem> {
        problems(part, &TreePath::new(path).expect(path), &Node::File { content: Facts::of(b"x"), mode })
    }

    #[test]
    fn interpreters_are_known_with_and_without_a_version() {
        for name in ["sh", "bash", "busybox", "python3", "python3.13", "perl5.40.1", "lua5.4", "tclsh8.6", "ruby"] {
            assert_eq!(of(Part::Runtime, &format!("usr/bin/{name}"), 0o755), [Problem::InterpreterName], "{name}");
        }
        for name in ["libpython3.13.so.1.0", "libperl.so.5.40", "liblua5.4.so.0"] {
            assert_eq!(of(Part::Runtime, &format!("usr/lib/{name}"), 0o644), [Problem::InterpreterName], "{name}");
        }
    }

    #[test]
    fn innocent_names_pass() {
        for name in [
            "mount",
            "mkfs.ext4",
            "runc",
            "containerd-shim-runc-v2",
            "iptables",
            "fsck.ext4",
            "libtclient.so.1",
            "k3s",
            "conntrack",
        ] {
            assert_eq!(of(Part::Runtime, &format!("usr/bin/{name}"), 0o755), [], "{name}");
        }
        assert_eq!(of(Part::Runtime, "usr/share/doc/sh", 0o644), [], "a file nobody can run");
    }

    #[test]
    fn exec_tools_and_misplaced_files_are_found() {
        assert_eq!(of(Part::Runtime, "usr/bin/ctr", 0o755), [Problem::ExecTool]);
        assert_eq!(of(Part::Runtime, "etc/motd", 0o644), [Problem::OutsideUsr]);
        for path in ["skerry/containerd", "bin/containerd-shim-runc-v2", "usr/bin/mount"] {
            assert_eq!(of(Part::Initramfs, path, 0o755), [Problem::NotForRam], "{path}");
        }
    }
}
