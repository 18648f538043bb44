//! The device's file system as its programs see it: the initramfs with the runtime image at /usr, links followed.

use crate::tree::{Node, Tree};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Both trees at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) initramfs: &'a Tree,
    pub(super) runtime: &'a Tree,
}

impl<'a> View<'a> {
    /// The file or folder at a path, with every link followed; none: nothing is there, or links run in a circle.
    pub(super) fn resolve(&self, path: &str) -> Option<&'a Node> {
        let mut todo: Vec<String> = parts(path);
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        let mut node = None;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                node = self.get(&done);
                continue;
            }
            done.push(part);
            node = self.get(&done);
            if let Node::Symlink { target } = node? {
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
        node
    }

    fn get(&self, parts: &[String]) -> Option<&'a Node> {
        let path = parts.join("/");
        self.runtime.get(&path).or_else(|| self.initramfs.get(&path))
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
        let view = View { initramfs: &initramfs, runtime: &runtime };
        for path in ["/lib64/ld.so", "usr/bin/tool", "/usr/lib/../lib64/ld.so"] {
            assert!(matches!(view.resolve(path), Some(Node::File { .. })), "{path}");
        }
        for path in ["a", "/lib64/other", "/usr/lib/ld.so/below", "nothing"] {
            assert!(view.resolve(path).is_none(), "{path}");
        }
    }
}
