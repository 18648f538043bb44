//! One image with everything right, and one wrong thing at a time.

use super::*;
use crate::components::elf::testing::elf;
use crate::tree::Content;

const MACHINE: u16 = 62;

fn good() -> (Tree, Tree) {
    let mut initramfs = Tree::new();
    initramfs.add_file("init", elf(MACHINE, None, &[]), 0o755).expect("added");
    for name in ["bin", "lib", "lib64"] {
        initramfs.add_symlink(name, format!("usr/{name}")).expect("added");
    }
    initramfs.add_dir("usr", 0o755).expect("added");
    initramfs.add_dir("var", 0o755).expect("added");
    let mut runtime = Tree::new();
    runtime.add_file("usr/bin/tool", elf(MACHINE, Some("/lib64/ld.so.2"), &["libc.so.6"]), 0o755).expect("added");
    runtime.add_file("usr/lib/x86_64-linux-gnu/libc.so.6", elf(MACHINE, None, &[]), 0o755).expect("added");
    runtime.add_file("usr/lib/x86_64-linux-gnu/ld.so.2", elf(MACHINE, None, &[]), 0o755).expect("added");
    runtime.add_symlink("usr/lib64", "lib/x86_64-linux-gnu").expect("added");
    (initramfs, runtime)
}

fn found(initramfs: &Tree, runtime: &Tree) -> Vec<String> {
    let (initramfs, runtime) = (Facts::of_tree(initramfs).expect("read"), Facts::of_tree(runtime).expect("read"));
    let subject = Subject { initramfs: &initramfs, runtime: &runtime, architecture: Architecture::X86_64 };
    findings(&subject).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_image_passes() {
    let (initramfs, runtime) = good();
    assert_eq!(found(&initramfs, &runtime), [] as [String; 0]);
}

#[test]
fn each_wrong_thing_is_named_with_its_file() {
    let file = |bytes: Vec<u8>, mode| Node::File { content: Content::from(bytes), mode };
    let link = |target: &str| Node::Symlink { target: target.into() };
    let hidden = [elf(MACHINE, None, &[]), b"BusyBox v1.36.1".to_vec()].concat();
    let cases = [
        ("usr/bin/sh", file(elf(MACHINE, None, &[]), 0o755), "name of a shell"),
        ("usr/bin/sh", link("tool"), "name of a shell"),
        ("usr/bin/python3.13", file(elf(MACHINE, None, &[]), 0o755), "name of a shell"),
        ("usr/bin/helper", file(b"#!/bin/sh\n".to_vec(), 0o755), "it is a script"),
        ("usr/bin/helper", file(hidden, 0o755), "as busybox does"),
        ("usr/bin/mount", file(elf(MACHINE, None, &[]), 0o4755), "set-user-id"),
        ("usr/bin/mount", file(elf(MACHINE, None, &[]), 0o2755), "set-group-id"),
        ("usr/share/note", file(b"x".to_vec(), 0o666), "anybody may write"),
        ("usr/share/open", Node::Dir { mode: 0o1777 }, "anybody may write"),
        ("usr/bin/ctr", file(elf(MACHINE, None, &[]), 0o755), "caller's choice"),
        ("usr/bin/arm", file(elf(183, None, &[]), 0o755), "it is for aarch64, the board is x86_64"),
        ("usr/bin/lost", file(elf(MACHINE, None, &["libmissing.so.1"]), 0o755), "its library libmissing.so.1"),
        ("usr/bin/lost", file(elf(MACHINE, Some("/lib64/ld-other.so"), &[]), 0o755), "its loader /lib64/ld-other.so"),
        ("usr/bin/cut", file(elf(MACHINE, None, &["libc.so.6"])[..40].to_vec(), 0o755), "cannot read it as an ELF file"),
        ("usr/bin/page", file(b"<html>".to_vec(), 0o755), "not an ELF program"),
        ("usr/bin/empty", file(Vec::new(), 0o755), "not an ELF program"),
        ("usr/bin/gone", link("nowhere"), "link to nowhere"),
        ("usr/bin/later", link("/var/lib/later"), "which is not in the image"),
        ("usr/lib/plugins", link("../../var"), "where the device can write"),
        ("usr/lib/round", link("round"), "which is not in the image"),
        ("etc/passwd", file(b"x".to_vec(), 0o644), "outside /usr"),
    ];
    for (path, node, expected) in cases {
        let (initramfs, mut runtime) = good();
        runtime.add(path, node).expect("added");
        let found = found(&initramfs, &runtime);
        let hit =
            found.iter().any(|line| line.starts_with(&format!("/{path} in the runtime image: ")) && line.contains(expected));
        assert!(hit, "{path}: {found:?} lacks {expected:?}");
    }
}

#[test]
fn a_program_in_ram_cannot_use_what_is_mounted_later() {
    let (mut initramfs, runtime) = good();
    let dynamic = elf(MACHINE, Some("/lib64/ld.so.2"), &["libc.so.6"]);
    initramfs.replace_file("init", dynamic, 0o755).expect("replaced");
    let found = found(&initramfs, &runtime);
    let expected = ["its loader /lib64/ld.so.2 is not in the image", "its library libc.so.6 is not in the image"];
    assert_eq!(found, expected.map(|reason| format!("/init in the initramfs: {reason}")));
}

#[test]
fn containerd_in_ram_is_refused_in_one_line() {
    let (mut initramfs, runtime) = good();
    for name in ["containerd", "containerd-shim-runc-v2", "k3s", "runc"] {
        initramfs.add_file(&format!("skerry/{name}"), elf(MACHINE, None, &[]), 0o755).expect("added");
    }
    let (initramfs, runtime) = (Facts::of_tree(&initramfs).expect("read"), Facts::of_tree(&runtime).expect("read"));
    let subject = Subject { initramfs: &initramfs, runtime: &runtime, architecture: Architecture::X86_64 };
    let message = check(&subject).expect_err("refused").to_string();
    assert!(message.contains("/skerry/containerd in the initramfs: it belongs into the runtime image"), "{message}");
    assert!(message.ends_with("and 1 more") && !message.contains('\n'), "{message}");
}
