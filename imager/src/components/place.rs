//! Where a component's files go: globs, moves, links and joined files of components.toml applied to what its packages gave.
//!
//! Pure. A glob that matches nothing is an error, so that a package that changed its layout is noticed when locking, not in the field.

use globset::{Glob, GlobBuilder};

use super::arch::expand;
use super::extract::{Item, Items};
use super::manifest::{Component, Package};
use crate::board::Architecture;

/// Why files cannot be placed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A glob matched nothing.
    #[error("cannot find `{glob}` in package {package}: it may have moved; look into the package and change components.toml")]
    Nothing {
        /// The glob, placeholders replaced.
        glob: String,
        /// The package.
        package: String,
    },
    /// A glob is malformed.
    #[error("cannot use the glob `{glob}`: {reason}")]
    Glob {
        /// The glob.
        glob: String,
        /// Why.
        reason: String,
    },
    /// Two files want one path.
    #[error("cannot place two different files at `{path}`")]
    Twice {
        /// The path.
        path: String,
    },
}

/// Every glob of a package, for taking it apart.
pub fn globs(arch: Architecture, component: &Component, package: &Package) -> Vec<String> {
    let joined = component.join.values();
    let all = package.take.iter().chain(package.place.keys()).chain(joined);
    all.map(|glob| expand(arch, glob)).collect()
}

/// The paths in the image that a component gives for certain: those its packages name without a wildcard. What is given in its place must have them.
pub fn certain(arch: Architecture, component: &Component) -> Vec<String> {
    let named = component.package.iter().flat_map(|package| {
        let moved = package.place.iter().filter(|(glob, to)| !to.ends_with('/') || !is_glob(glob));
        package.take.iter().filter(|glob| !is_glob(glob)).cloned().chain(moved.map(|(glob, to)| destination(to, glob)))
    });
    named.chain(component.join.keys().cloned()).map(|path| expand(arch, &path)).collect()
}

/// Whether a path of components.toml may stand for several. `{arch}` and the like stand for one.
fn is_glob(path: &str) -> bool {
    expand(Architecture::X86_64, path).contains(['*', '?', '[', '{'])
}

/// The files of one package, at their places in the image. Files that are only joined are left out.
pub fn place_package(arch: Architecture, package: &Package, given: &Items) -> Result<Items, PlaceError> {
    let mut placed = Items::new();
    for glob in &package.take {
        for (path, item) in matching(arch, package, glob, given)? {
            put(&mut placed, path.clone(), item)?;
        }
    }
    for (glob, to) in &package.place {
        for (path, item) in matching(arch, package, glob, given)? {
            put(&mut placed, destination(&expand(arch, to), path), item)?;
        }
    }
    Ok(placed)
}

/// The component's own links.
pub fn links(arch: Architecture, component: &Component) -> Items {
    let link = |(path, target): (&String, &String)| (expand(arch, path), Item::Link { target: expand(arch, target) });
    component.links.iter().map(link).collect()
}

/// The items a joined file is made of, in the order of their names.
pub fn joined<'a>(arch: Architecture, package: &Package, glob: &str, given: &'a Items) -> Result<Vec<&'a Item>, PlaceError> {
    Ok(matching(arch, package, glob, given)?.into_iter().map(|(_, item)| item).collect())
}

/// Adds items to others; two different ones at one path are an error.
pub fn merge(into: &mut Items, items: Items) -> Result<(), PlaceError> {
    items.into_iter().try_for_each(|(path, item)| put(into, path, &item))
}

/// `to`, or a file in it when it ends in `/`.
pub fn destination(to: &str, from: &str) -> String {
    match to.ends_with('/') {
        true => format!("{to}{}", from.rsplit('/').next().unwrap_or(from)),
        false => to.to_owned(),
    }
}

fn put(placed: &mut Items, path: String, item: &Item) -> Result<(), PlaceError> {
    match placed.get(&path) {
        Some(there) if there != item => Err(PlaceError::Twice { path }),
        Some(_) | None => {
            placed.insert(path, item.clone());
            Ok(())
        }
    }
}

fn matching<'a>(
    arch: Architecture,
    package: &Package,
    glob: &str,
    given: &'a Items,
) -> Result<Vec<(&'a String, &'a Item)>, PlaceError> {
    let glob = expand(arch, glob);
    let matcher = compile(&glob)?.compile_matcher();
    let found: Vec<_> = given.iter().filter(|(path, _)| matcher.is_match(path)).collect();
    if found.is_empty() { Err(PlaceError::Nothing { glob, package: expand(arch, &package.name) }) } else { Ok(found) }
}

fn compile(glob: &str) -> Result<Glob, PlaceError> {
    let failed = |error: globset::Error| PlaceError::Glob { glob: glob.into(), reason: error.kind().to_string() };
    GlobBuilder::new(glob).literal_separator(true).build().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::digest::Digest;
    use super::super::manifest::Manifest;
    use super::*;

    fn file(content: &str) -> Item {
        Item::File { sha256: Digest::of(content.as_bytes()), executable: true, elf: None }
    }

    fn given() -> Items {
        [("usr/bin/a", "a"), ("usr/bin/b", "b"), ("usr/share/c", "c")].map(|(path, text)| (path.to_owned(), file(text))).into()
    }

    fn package(take: &[&str], place: &[(&str, &str)]) -> Package {
        Package {
            name: "tool-{arch}".into(),
            follow: vec![],
            take: take.iter().map(|glob| (*glob).to_owned()).collect(),
            place: place.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        }
    }

    fn placed(package: &Package) -> Result<Vec<String>, PlaceError> {
        Ok(place_package(Architecture::X86_64, package, &given())?.into_keys().collect())
    }

    #[test]
    fn files_keep_their_path_or_move() {
        assert_eq!(placed(&package(&["usr/bin/*"], &[])).expect("placed"), ["usr/bin/a", "usr/bin/b"]);
        let moved = package(&[], &[("usr/bin/a", "usr/sbin/"), ("usr/share/c", "usr/lib/{triplet}/d")]);
        assert_eq!(placed(&moved).expect("placed"), ["usr/lib/x86_64-linux-gnu/d", "usr/sbin/a"]);
    }

    #[test]
    fn what_is_named_without_a_wildcard_is_certain() {
        let mut component = Manifest::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/components.toml"))
            .expect("loaded")
            .component["ca-certificates"]
            .clone();
        component.package = vec![package(
            &["usr/bin/a", "usr/lib/{triplet}/b", "usr/lib/*.so", "usr/bin/{c,d}"],
            &[("boot/vmlinuz-*", "vmlinuz"), ("usr/sbin/e", "usr/bin/"), ("usr/sbin/{f,g}", "usr/bin/")],
        )];
        let expected = ["usr/bin/a", "usr/lib/x86_64-linux-gnu/b", "vmlinuz", "usr/bin/e", "usr/share/ca-certificates.pem"];
        let mut found = certain(Architecture::X86_64, &component);
        found.sort();
        let mut expected = expected.map(str::to_owned).to_vec();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn globs_without_a_match_are_named() {
        let error = placed(&package(&["usr/bin/*", "usr/sbin/{arch}"], &[])).expect_err("nothing there");
        assert_eq!(error, PlaceError::Nothing { glob: "usr/sbin/amd64".into(), package: "tool-amd64".into() });
    }

    #[test]
    fn two_files_cannot_share_a_place() {
        let error = placed(&package(&[], &[("usr/bin/*", "usr/bin/one")])).expect_err("a and b");
        assert_eq!(error, PlaceError::Twice { path: "usr/bin/one".into() });
    }
}
