//! Which crates are in programs that were built from this workspace. `tools/crates.sh` makes the list where it makes the programs and lays it beside
//! them as `crates.toml`; it is believed for the very bytes it names and no others. Guesses nothing: a program of ours without a list is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::{Digest, of_file};

/// The list's file, in the folder of the programs.
pub const FILE: &str = "crates.toml";

/// Why the crates in a program are not known.
#[derive(Debug, thiserror::Error)]
pub enum CratesError {
    /// No list.
    #[error("cannot tell which crates are in {}: {FILE} is not beside it; `make node` builds both", program.display())]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// The list is of other bytes.
    #[error("cannot tell which crates are in {}: {FILE} beside it is of another build; `make node` builds both", program.display())]
    OtherBuild {
        /// The program.
        program: PathBuf,
    },
    /// The list or the program cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list is not what the script writes.
    #[error("cannot use {}: {reason}; `make node` writes it anew", path.display())]
    Form {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A crate in a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the published archive; none for our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// The file: cargo's tree of crates, the lock they were taken by, the programs.
#[derive(Debug, Deserialize)]
struct List {
    tree: String,
    package: Vec<Locked>,
    programs: BTreeMap<String, Program>,
}

/// A crate in the lock, with what matters here.
#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<Digest>,
}

/// A program that was built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    package: String,
    sha256: Digest,
}

/// The crates in one of our programs, its own included, sorted.
///
/// # Errors
/// See [`CratesError`].
pub fn of_program(program: &Path) -> Result<Vec<Crate>, CratesError> {
    find(program)?.ok_or_else(|| CratesError::Missing { program: program.to_owned() })
}

/// The crates in a file that somebody gave: none unless a list beside it names it.
///
/// # Errors
/// See [`CratesError`].
pub fn of_given(file: &Path) -> Result<Vec<Crate>, CratesError> {
    Ok(if file.is_file() { find(file)?.unwrap_or_default() } else { Vec::new() })
}

/// None: no list names the program.
fn find(program: &Path) -> Result<Option<Vec<Crate>>, CratesError> {
    let (list, name) = (program.with_file_name(FILE), program.file_name().unwrap_or_default().to_string_lossy());
    let unreadable = |path: &Path, source| CratesError::Read { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(&list) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| unreadable(&list, source))?,
    };
    let wrong = |reason: String| CratesError::Form { path: list.clone(), reason };
    let read: List = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let Some(named) = read.programs.get(name.as_ref()) else { return Ok(None) };
    if of_file(program).map_err(|source| unreadable(program, source))? != named.sha256 {
        return Err(CratesError::OtherBuild { program: program.to_owned() });
    }
    read.crates(&named.package).map(Some).map_err(wrong)
}

/// Name and version.
type Id = (String, String);

/// What each crate links.
type Links = BTreeMap<Id, BTreeSet<Id>>;

impl List {
    /// A package and everything it links.
    fn crates(&self, package: &str) -> Result<Vec<Crate>, String> {
        let (roots, links) = read_tree(&self.tree).ok_or("its tree of crates is not as cargo prints it")?;
        let mut next = vec![roots.get(package).ok_or_else(|| format!("its tree does not begin at {package}"))?];
        let mut found = BTreeSet::new();
        while let Some(id) = next.pop() {
            if found.insert(id) {
                next.extend(links.get(id).into_iter().flatten());
            }
        }
        found.into_iter().map(|id| self.locked(id)).collect()
    }

    fn locked(&self, (name, version): &Id) -> Result<Crate, String> {
        let locked = self.package.iter().find(|locked| locked.name == *name && locked.version == *version);
        let locked = locked.ok_or_else(|| format!("{name} {version} is not in the lock"))?;
        Ok(Crate { name: name.clone(), version: version.clone(), sha256: locked.checksum })
    }
}

/// The packages that were asked for, by name, and what each crate links. cargo prints what a crate links once, where it comes first.
fn read_tree(text: &str) -> Option<(BTreeMap<String, Id>, Links)> {
    let (mut roots, mut links) = (BTreeMap::new(), Links::new());
    let mut above: Vec<Id> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (depth, words) = line.split_at(line.find(|c: char| !c.is_ascii_digit())?);
        let mut words = words.split(' ');
        let id = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
        let depth: usize = depth.parse().ok().filter(|depth| *depth <= above.len())?;
        above.truncate(depth);
        match above.last() {
            Some(parent) => drop(links.entry(parent.clone()).or_default().insert(id.clone())),
            None => drop(roots.insert(id.0.clone(), id.clone())),
        }
        above.push(id);
    }
    Some((roots, links))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0apid v0.1.0\n1api v0.1.0\n2bytes v1.0.0\n1log v0.4.0\n\n0init v0.1.0\n1api v0.1.0 (*)\n1bytes v2.0.0\n";

    /// A folder with two programs and their list.
    fn folder(tree: &str, locked: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temp folder");
        let mut list = format!("tree = '''\n{tree}'''\nversion = 4\n");
        for (name, version) in locked {
            let own =
                if version.starts_with('0') && *name != "log" { "" } else { &format!("checksum = \"{}\"\n", "ab".repeat(32)) };
            list += &format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{own}dependencies = [\"x\"]\n");
        }
        for (program, package) in [("apid", "apid"), ("skerry-init", "init")] {
            std::fs::write(folder.path().join(program), program).expect("written");
            let sum = Digest::of(program.as_bytes());
            list += &format!("[programs.{program}]\npackage = \"{package}\"\nsha256 = \"{sum}\"\n");
        }
        std::fs::write(folder.path().join(FILE), list).expect("written");
        folder
    }

    const LOCKED: [(&str, &str); 6] =
        [("api", "0.1.0"), ("apid", "0.1.0"), ("bytes", "1.0.0"), ("bytes", "2.0.0"), ("init", "0.1.0"), ("log", "0.4.0")];

    #[test]
    fn each_program_has_its_own_crates_and_those_that_cargo_told_of_before() {
        let folder = folder(TREE, &LOCKED);
        for (program, expected) in [
            ("apid", "api 0.1.0 -, apid 0.1.0 -, bytes 1.0.0 sum, log 0.4.0 sum"),
            ("skerry-init", "api 0.1.0 -, bytes 1.0.0 sum, bytes 2.0.0 sum, init 0.1.0 -"),
        ] {
            let found = of_program(&folder.path().join(program)).expect("listed");
            let sum = |one: &Crate| if one.sha256.is_some() { "sum" } else { "-" };
            let found: Vec<_> = found.iter().map(|one| format!("{} {} {}", one.name, one.version, sum(one))).collect();
            assert_eq!(found.join(", "), expected);
        }
    }

    #[test]
    fn what_no_list_is_of_is_refused_for_ours_and_empty_for_others() {
        let folder = folder(TREE, &LOCKED);
        let given = folder.path().join("k3s");
        std::fs::write(&given, "somebody's").expect("written");
        assert_eq!(of_given(&given).expect("nobody said"), []);
        assert_eq!(of_given(folder.path()).expect("a folder"), []);
        let error = of_program(&given).expect_err("refused").to_string();
        assert!(error.contains("crates.toml is not beside it") && error.contains("make node"), "{error}");
        std::fs::write(folder.path().join("apid"), "built again").expect("written");
        for result in [of_program, of_given].map(|list| list(&folder.path().join("apid"))) {
            let error = result.expect_err("refused").to_string();
            assert!(error.contains("of another build") && error.contains("make node"), "{error}");
        }
    }

    #[test]
    fn a_list_that_is_none_says_what_is_wrong() {
        for (tree, locked, expected) in [
            ("1apid v0.1.0\n", &LOCKED[..], "not as cargo prints it"),
            ("0apid\n", &LOCKED, "not as cargo prints it"),
            ("0init v0.1.0\n", &LOCKED, "does not begin at apid"),
            (TREE, &LOCKED[1..], "api 0.1.0 is not in the lock"),
        ] {
            let folder = folder(tree, locked);
            let error = of_program(&folder.path().join("apid")).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("make node"), "{error}");
        }
        let folder = folder(TREE, &LOCKED);
        std::fs::write(folder.path().join(FILE), "tree = 1\n").expect("written");
        assert!(of_program(&folder.path().join("apid")).expect_err("refused").to_string().contains("crates.toml: "));
    }
}
