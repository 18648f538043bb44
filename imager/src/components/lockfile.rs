//! `kernel/components.lock`: the exact packages an image is made of, written by `imager lock`, sorted, one per table.
//!
//! Paths are relative to an archive's base address, which is never written down.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::manifest::{Archive, toml_reason};
use crate::board::Architecture;
use crate::draft::{Draft, folder_of};

/// The form of the file this code reads and writes.
const FORM: u32 = 1;

const HEADER: &str = "# Written by `imager lock` from components.toml. Do not edit: run it again.\n\n";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Which form of the file this is.
    form: u32,
    /// The signed Release files that vouched for the packages.
    #[serde(default)]
    pub release: Vec<LockedRelease>,
    /// The components' packages.
    #[serde(default)]
    pub package: Vec<LockedPackage>,
    /// Packages that give shared libraries to them.
    #[serde(default)]
    pub library: Vec<LockedLibrary>,
}

/// A Release file whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRelease {
    /// Code name of the suite.
    pub suite: String,
    /// The archive it is in.
    pub archive: Archive,
    /// Its date, as it says.
    pub date: String,
    /// Its content.
    pub sha256: Digest,
}

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedDeb {
    /// Name of the package.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// The suite it was found in.
    pub suite: String,
    /// The archive that suite is in.
    pub archive: Archive,
    /// Its path below the archive's base address.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub sha256: Digest,
}

/// A package of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedPackage {
    /// The component.
    pub component: String,
    /// What it is locked for.
    pub architecture: Architecture,
    /// The name in components.toml, before following.
    pub wanted: String,
    /// The file.
    #[serde(flatten)]
    pub deb: LockedDeb,
}

/// Whose programs load a library: each of the two is complete in itself, so that both may come from other suites.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Users {
    /// The runtime image's.
    #[default]
    Runtime,
    /// Those of tools that tests run on the building machine.
    Tools,
}

impl Users {
    fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A package that gives shared libraries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedLibrary {
    /// What it is locked for.
    pub architecture: Architecture,
    /// Whose programs load it.
    #[serde(default, skip_serializing_if = "Users::are_usual")]
    pub users: Users,
    /// Paths taken from it when something needs them, in the image's merged-usr form.
    pub gives: Vec<String>,
    /// The file.
    #[serde(flatten)]
    pub deb: LockedDeb,
}

impl LockedPackage {
    /// The package and, where it is named otherwise, its component: one package may serve several.
    pub fn name_for_people(&self) -> String {
        match self.wanted == self.component {
            true => self.wanted.clone(),
            false => format!("{} ({})", self.wanted, self.component),
        }
    }
}

impl LockedLibrary {
    /// The package, and whose it is when not the runtime's.
    pub fn name_for_people(&self) -> String {
        match self.users {
            Users::Runtime => self.deb.name.clone(),
            Users::Tools => format!("{} (tools)", self.deb.name),
        }
    }
}

/// Why the lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    /// There is none, or it cannot be read.
    #[error("cannot read {}: run `imager lock` to write it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a lock.
    #[error("cannot use {}: {reason}; run `imager lock` to write it again", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, on one line.
        reason: String,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Lock {
    /// A lock with everything in its one order.
    pub fn new(mut release: Vec<LockedRelease>, mut package: Vec<LockedPackage>, mut library: Vec<LockedLibrary>) -> Self {
        release.sort();
        package.sort();
        library.iter_mut().for_each(|library| library.gives.sort());
        library.sort_by(|a, b| (a.users, a.architecture, &a.deb, &a.gives).cmp(&(b.users, b.architecture, &b.deb, &b.gives)));
        Self { form: FORM, release, package, library }
    }

    /// The packages that give libraries to these programs on an architecture.
    pub fn libraries(&self, architecture: Architecture, users: Users) -> impl Iterator<Item = &LockedLibrary> {
        self.library.iter().filter(move |library| library.architecture == architecture && library.users == users)
    }

    /// Reads a lock.
    pub fn load(path: &Path) -> Result<Self, LockfileError> {
        let text = std::fs::read_to_string(path).map_err(|source| LockfileError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|reason| LockfileError::Invalid { path: path.into(), reason })
    }

    /// Parses a lock; the error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
        match lock.form {
            FORM => Ok(lock),
            other => Err(format!("it has form {other}, this imager reads form {FORM}")),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let body = toml::to_string(self).expect("every field of a lock has a TOML form");
        format!("{HEADER}{body}")
    }

    /// Writes the file; it appears complete or not at all.
    pub fn save(&self, path: &Path) -> Result<(), LockfileError> {
        let failed = |source| LockfileError::Write { path: path.into(), source };
        let mut draft = Draft::create(folder_of(path)).map_err(failed)?;
        draft.write_all(self.to_text().as_bytes()).map_err(failed)?;
        draft.publish(path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(name: &str) -> LockedDeb {
        LockedDeb {
            name: name.into(),
            version: "1:2-3".into(),
            suite: "trixie".into(),
            archive: Archive::DebianSecurity,
            path: format!("pool/{name}.deb"),
            size: 7,
            sha256: Digest::of(name.as_bytes()),
        }
    }

    fn package(component: &str, name: &str) -> LockedPackage {
        LockedPackage { component: component.into(), architecture: Architecture::X86_64, wanted: name.into(), deb: deb(name) }
    }

    #[test]
    fn order_of_finding_does_not_show() {
        let library = LockedLibrary {
            architecture: Architecture::X86_64,
            users: Users::Tools,
            gives: vec!["usr/lib/b".into(), "usr/lib/a".into()],
            deb: deb("lib"),
        };
        let one = Lock::new(vec![], vec![package("b", "x"), package("a", "y")], vec![library.clone()]);
        let two = Lock::new(vec![], vec![package("a", "y"), package("b", "x")], vec![library]);
        assert_eq!(one.to_text(), two.to_text());
        assert_eq!(Lock::parse(&one.to_text()).expect("reads back"), one);
    }

    #[test]
    fn another_form_is_refused() {
        let text = Lock::new(vec![], vec![], vec![]).to_text().replace("form = 1", "form = 2");
        assert!(Lock::parse(&text).expect_err("form 2").contains("form 2"));
    }

    #[test]
    fn saving_replaces_the_whole_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("components.lock");
        std::fs::write(&path, "old").expect("written");
        let lock = Lock::new(vec![], vec![package("a", "y")], vec![]);
        lock.save(&path).expect("saved");
        assert_eq!(Lock::load(&path).expect("loaded"), lock);
    }
}
