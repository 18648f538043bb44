//! Shared libraries: what the programs of a tree need that is not in it, found by their `DT_NEEDED` and interpreter, never by package dependencies alone.
//!
//! Pure, over [`Items`]. The loader searches Debian's library folders; run paths are not followed, since none of our programs has one.

use std::collections::BTreeSet;

use super::arch::{elf_machine, machine_name, triplet};
use super::extract::{Item, Items};
use crate::board::Architecture;

/// A library or interpreter that a program asks for and nobody gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// What is asked for: a library's name, or an interpreter's path.
    pub wanted: String,
    /// The file that asks.
    pub by: String,
}

/// A program for another architecture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {file} on {arch}: it is built for {found}; give a build for {arch}")]
pub struct WrongArchitecture {
    /// The file.
    pub file: String,
    /// What the image is for.
    pub arch: Architecture,
    /// What the file is for.
    pub found: String,
}

/// Where the loader looks for a library, or for an interpreter given by path, in the order it looks.
pub fn places(arch: Architecture, wanted: &str) -> Vec<String> {
    match wanted.strip_prefix('/') {
        Some(path) => vec![super::deb::merged_usr(path)],
        None => vec![format!("usr/lib/{}/{wanted}", triplet(arch)), format!("usr/lib/{wanted}")],
    }
}

/// Everything the programs in `items` ask for and do not find there, sorted.
pub fn missing(arch: Architecture, items: &Items) -> Result<Vec<Missing>, WrongArchitecture> {
    let mut missing = BTreeSet::new();
    for (path, item) in items {
        let Item::File { elf: Some(facts), .. } = item else { continue };
        if facts.machine != elf_machine(arch) {
            return Err(WrongArchitecture { file: path.clone(), arch, found: machine_name(facts.machine) });
        }
        for wanted in facts.needed.iter().chain(&facts.interpreter) {
            if !places(arch, wanted).iter().any(|place| resolves(items, place)) {
                missing.insert(Missing { wanted: wanted.clone(), by: path.clone() });
            }
        }
    }
    Ok(missing.into_iter().collect())
}

/// Takes from `given` the file for `place` and the links that lead to it; none: `given` has no such file.
pub fn take_with_links(given: &Items, place: &str) -> Option<Items> {
    let mut taken = Items::new();
    let mut path = place.to_owned();
    loop {
        let item = given.get(&path)?;
        let again = taken.insert(path.clone(), item.clone()).is_some();
        match item {
            Item::File { .. } => return Some(taken),
            Item::Link { .. } if again => return None,
            Item::Link { target } => path = follow(&path, target)?,
        }
    }
}

fn resolves(items: &Items, place: &str) -> bool {
    take_with_links(items, place).is_some()
}

/// The path a link at `path` leads to; none: it leaves the tree.
fn follow(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => path.split('/').collect::<Vec<_>>().split_last()?.1.to_vec(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(super::deb::merged_usr(&parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digest;
    use super::super::elf::ElfFacts;
    use super::*;

    const ARCH: Architecture = Architecture::X86_64;

    fn program(machine: u16, needed: &[&str]) -> Item {
        let needed = needed.iter().map(|name| (*name).to_owned()).collect();
        let elf = Some(ElfFacts { machine, interpreter: Some("/lib64/ld.so.2".into()), needed });
        Item::File { sha256: Digest::of(b""), executable: true, elf }
    }

    fn plain() -> Item {
        Item::File { sha256: Digest::of(b""), executable: false, elf: None }
    }

    fn link(target: &str) -> Item {
        Item::Link { target: target.into() }
    }

    fn items(list: &[(&str, Item)]) -> Items {
        list.iter().map(|(path, item)| ((*path).to_owned(), item.clone())).collect()
    }

    #[test]
    fn what_is_missing_names_who_asks() {
        let mut tree = items(&[("usr/bin/tool", program(62, &["libx.so.1", "libc.so.6"])), ("usr/lib64/ld.so.2", plain())]);
        tree.insert("usr/lib/x86_64-linux-gnu/libx.so.1".into(), link("libx.so.1.2"));
        let wanted =
            |tree: &Items| missing(ARCH, tree).expect("right machine").into_iter().map(|m| (m.wanted, m.by)).collect::<Vec<_>>();
        let ask = |name: &str| (name.to_owned(), "usr/bin/tool".to_owned());
        assert_eq!(wanted(&tree), [ask("libc.so.6"), ask("libx.so.1")], "a link to nowhere gives nothing");
        tree.insert("usr/lib/x86_64-linux-gnu/libx.so.1.2".into(), plain());
        tree.insert("usr/lib/x86_64-linux-gnu/libc.so.6".into(), plain());
        assert_eq!(wanted(&tree), []);
        tree.remove("usr/lib64/ld.so.2");
        assert_eq!(wanted(&tree), [ask("/lib64/ld.so.2")]);
    }

    #[test]
    fn a_program_for_another_machine_is_refused() {
        let error = missing(ARCH, &items(&[("usr/bin/tool", program(183, &[]))])).expect_err("Arm");
        assert_eq!(error.to_string(), "cannot use usr/bin/tool on x86_64: it is built for aarch64; give a build for x86_64");
    }

    #[test]
    fn links_are_taken_with_what_they_lead_to() {
        let given = items(&[
            ("usr/lib64/ld.so.2", link("../lib/x86_64-linux-gnu/ld.so.2")),
            ("usr/lib/x86_64-linux-gnu/ld.so.2", plain()),
            ("usr/lib/a", link("b")),
            ("usr/lib/b", link("/lib/a")),
            ("usr/lib/c", link("../../../c")),
        ]);
        let taken = take_with_links(&given, "usr/lib64/ld.so.2").expect("resolves");
        assert_eq!(taken.into_keys().collect::<Vec<_>>(), ["usr/lib/x86_64-linux-gnu/ld.so.2", "usr/lib64/ld.so.2"]);
        for nowhere in ["usr/lib/a", "usr/lib/c", "usr/lib/d"] {
            assert_eq!(take_with_links(&given, nowhere), None, "{nowhere}");
        }
    }
}
