//! The device's file system as its programs see it: the initramfs with the runtime image at /usr, links followed.

use super::Facts;
use crate::tree::{Node, Tree};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Both trees at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) initramfs: &'a Tree<Facts>,
    /// None: before it is mounted.
    pub(super) runtime: Option<&'a Tree<Facts>>,
}

/// Where a path leads: the path without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    parts: Vec<String>,
}

impl Found {
    /// Whether it is that folder at the root, or in it.
    pub(super) fn is_below(&self, folder: &str) -> bool {
        self.parts.first().is_some_and(|first| first == folder)
    }
}

impl<'a> View<'a> {
    /// The file or folder a path leads to, with every link followed; none: nothing is there, or links run in a circle.
    pub(super) fn resolve(&self, path: &str) -> Option<Found> {
        let mut todo: Vec<String> = parts(path);
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            if let Node::Symlink { target } = self.get(&done)? {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(parts(target));
            }
        }
        Some(Found { parts: done })
    }

    fn get(&self, parts: &[String]) -> Option<&'a Node<Facts>> {
        let path = parts.join("/");
        self.runtime.and_then(|runtime| runtime.get(&path)).or_else(|| self.initramfs.get(&path))
    }
}

/// The components of a path, the last one first.
fn parts(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).rev().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_across_both_trees() {
        let mut initramfs = Tree::new();
        initramfs.add_symlink("lib64", "usr/lib64").expect("added");
        initramfs.add_symlink("a", "b").expect("added");
        initramfs.add_symlink("b", "/a").expect("added");
        let mut runtime = Tree::new();
        runtime.add_symlink("usr/lib64", "lib").expect("added");
        runtime.add_file("usr/lib/ld.so", "x", 0o755).expect("added");
        runtime.add_symlink("usr/bin/tool", "../lib/./ld.so").expect("added");
        let (initramfs, runtime) = (Facts::of_tree(&initramfs).expect("read"), Facts::of_tree(&runtime).expect("read"));
        let view = View { initramfs: &initramfs, runtime: Some(&runtime) };
        for path in ["/lib64/ld.so", "usr/bin/tool", "/usr/lib/../lib64/ld.so"] {
            assert_eq!(view.resolve(path).map(|found| found.parts.join("/")).as_deref(), Some("usr/lib/ld.so"), "{path}");
            assert!(view.resolve(path).expect("found").is_below("usr"));
            assert_eq!(View { runtime: None, ..view }.resolve(path), None, "{path}");
        }
        for path in ["a", "/lib64/other", "/usr/lib/ld.so/below", "nothing"] {
            assert!(view.resolve(path).is_none(), "{path}");
        }
    }
}
