//! Which components an image for a board is made of, where each comes from, and whether they go together.
//!
//! Pure: the manifest, the lock, the board and a person's wishes in; a list or a refusal out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::lockfile::{Lock, LockedPackage};
use super::manifest::{Component, Manifest, Package, Pin, PinnedFile, Refusal, Role};
use crate::board::{Architecture, Board};

/// What a person states about components.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `--component NAME=PATH`: use this file, package or folder instead.
    pub given: BTreeMap<String, PathBuf>,
    /// `--without NAME`.
    pub without: BTreeSet<String>,
}

/// A component that goes into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// Its name.
    pub name: String,
    /// What components.toml says of it.
    pub component: &'a Component,
    /// Where it comes from.
    pub source: Source<'a>,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source<'a> {
    /// A path on the build machine.
    Given(PathBuf),
    /// Locked packages, in the manifest's order.
    Packages(Vec<(&'a Package, &'a LockedPackage)>),
    /// A pinned file.
    Pinned(&'a PinnedFile, &'a Pin),
}

/// Why components cannot be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A wish names nothing.
    #[error("cannot find component `{name}`: there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// All names, joined by commas.
        known: String,
    },
    /// An image cannot be without it.
    #[error("cannot leave out component `{name}`: an image needs it")]
    Needed {
        /// The name.
        name: String,
    },
    /// Given and left out at once.
    #[error("cannot both give component `{name}` and leave it out: drop `--component` or `--without`")]
    Both {
        /// The name.
        name: String,
    },
    /// Given, but in no image.
    #[error("cannot use a `{name}` of your own: only tests use that component, no image holds it")]
    OnlyForTests {
        /// The name.
        name: String,
    },
    /// A kernel is given that the board does not use.
    #[error("cannot use a `{name}` of your own: board {board} has the kernel `{kernel}`")]
    OtherKernel {
        /// The name.
        name: String,
        /// The board.
        board: String,
        /// Its kernel.
        kernel: String,
    },
    /// Boot files or microcode are given that the board does not use.
    #[error("cannot use a `{name}` of your own: board {board} does not use that component")]
    NotOfBoard {
        /// The name.
        name: String,
        /// The board.
        board: String,
    },
    /// The board names a kernel that is none.
    #[error(
        "cannot use `{kernel}` as the kernel of board {board}: components.toml has no kernel of that name for {architecture}"
    )]
    Kernel {
        /// The board.
        board: String,
        /// The name.
        kernel: String,
        /// The board's architecture.
        architecture: Architecture,
    },
    /// The board names a component that is not of the sort it is named for.
    #[error("cannot use `{name}` as the {sort} of board {board}: components.toml has no such component for {architecture}")]
    Sort {
        /// The board.
        board: String,
        /// The name.
        name: String,
        /// What it is named for: `boot-files` or `microcode`.
        sort: &'static str,
        /// The board's architecture.
        architecture: Architecture,
    },
    /// The lock does not know a package.
    #[error(
        "cannot find package `{package}` of component `{component}` for {architecture} in components.lock: run `imager lock`"
    )]
    NotLocked {
        /// The component.
        component: String,
        /// The package.
        package: String,
        /// The board's architecture.
        architecture: Architecture,
    },
    /// Versions that do not go together.
    #[error("cannot put {versions} into one image: {because}")]
    Refused {
        /// The components with their versions, joined by `and`.
        versions: String,
        /// What would go wrong.
        because: String,
    },
}

/// Chooses the components of an image.
pub fn choose<'a>(
    manifest: &'a Manifest,
    lock: &'a Lock,
    board: &Board,
    wishes: &Wishes,
) -> Result<Vec<Chosen<'a>>, SelectError> {
    check_wishes(manifest, board, wishes)?;
    check_kernel(manifest, board)?;
    check_sort(manifest, board, "boot-files", board.boot_files.as_ref(), Role::BootFiles)?;
    check_sort(manifest, board, "microcode", board.microcode.as_ref(), Role::Microcode)?;
    let mut chosen = Vec::new();
    for (name, component) in manifest.component.iter().filter(|(name, component)| wanted(name, component, board, wishes)) {
        let source = source(name, component, lock, board.architecture, wishes)?;
        chosen.push(Chosen { name: name.clone(), component, source });
    }
    check_together(&manifest.refuse, &chosen)?;
    Ok(chosen)
}

impl Chosen<'_> {
    /// Its version; none: given by path, so nobody knows.
    pub fn version(&self) -> Option<&str> {
        match &self.source {
            Source::Given(_) => None,
            Source::Packages(packages) => packages.first().map(|(_, locked)| locked.deb.version.as_str()),
            Source::Pinned(file, _) => Some(&file.version),
        }
    }
}

fn check_wishes(manifest: &Manifest, board: &Board, wishes: &Wishes) -> Result<(), SelectError> {
    for name in wishes.given.keys().chain(&wishes.without) {
        if !manifest.component.contains_key(name) {
            let known = manifest.component.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(SelectError::Unknown { name: name.clone(), known });
        }
    }
    for name in wishes.given.keys() {
        check_given(name, manifest.component[name].role, board)?;
    }
    for name in &wishes.without {
        if wishes.given.contains_key(name) {
            return Err(SelectError::Both { name: name.clone() });
        }
        if !manifest.component[name].optional {
            return Err(SelectError::Needed { name: name.clone() });
        }
    }
    Ok(())
}

/// What is given must have a place in the image: nothing a person says is ignored.
fn check_given(name: &str, role: Role, board: &Board) -> Result<(), SelectError> {
    let name = name.to_owned();
    match role {
        Role::Test | Role::Tool => Err(SelectError::OnlyForTests { name }),
        Role::Kernel if name != board.kernel => {
            Err(SelectError::OtherKernel { name, board: board.name.clone(), kernel: board.kernel.clone() })
        }
        Role::BootFiles | Role::Microcode if ![&board.boot_files, &board.microcode].contains(&&Some(name.clone())) => {
            Err(SelectError::NotOfBoard { name, board: board.name.clone() })
        }
        Role::Kernel | Role::Loader | Role::Firmware | Role::BootFiles | Role::Microcode | Role::Runtime => Ok(()),
    }
}

fn check_kernel(manifest: &Manifest, board: &Board) -> Result<(), SelectError> {
    let good = |component: &Component| component.role == Role::Kernel && component.architectures.contains(&board.architecture);
    match manifest.component.get(&board.kernel).is_some_and(good) {
        true => Ok(()),
        false => {
            Err(SelectError::Kernel { board: board.name.clone(), kernel: board.kernel.clone(), architecture: board.architecture })
        }
    }
}

fn check_sort(
    manifest: &Manifest,
    board: &Board,
    sort: &'static str,
    named: Option<&String>,
    role: Role,
) -> Result<(), SelectError> {
    let Some(name) = named else { return Ok(()) };
    let good = |component: &Component| component.role == role && component.architectures.contains(&board.architecture);
    match manifest.component.get(name).is_some_and(good) {
        true => Ok(()),
        false => Err(SelectError::Sort { board: board.name.clone(), name: name.clone(), sort, architecture: board.architecture }),
    }
}

fn wanted(name: &str, component: &Component, board: &Board, wishes: &Wishes) -> bool {
    if wishes.given.contains_key(name) {
        return true;
    }
    let role = match component.role {
        Role::Kernel => name == board.kernel,
        Role::Loader => board.boot.has_loader(),
        Role::Runtime => true,
        Role::Firmware => !board.firmware.is_empty(),
        Role::BootFiles => board.boot_files.as_deref() == Some(name),
        Role::Microcode => board.microcode.as_deref() == Some(name),
        Role::Test | Role::Tool => false,
    };
    // What belongs to a pinned version goes with it: not beside another one given by path, nor alone.
    let alone =
        component.along_with.as_ref().is_some_and(|other| wishes.without.contains(other) || wishes.given.contains_key(other));
    role && !alone && component.architectures.contains(&board.architecture) && !wishes.without.contains(name)
}

fn source<'a>(
    name: &str,
    component: &'a Component,
    lock: &'a Lock,
    architecture: Architecture,
    wishes: &Wishes,
) -> Result<Source<'a>, SelectError> {
    if let Some(path) = wishes.given.get(name) {
        return Ok(Source::Given(path.clone()));
    }
    if let Some((file, pin)) = component.file.as_ref().and_then(|file| Some((file, file.pin.get(&architecture)?))) {
        return Ok(Source::Pinned(file, pin));
    }
    component
        .package
        .iter()
        .map(|package| Ok((package, locked(name, package, lock, architecture)?)))
        .collect::<Result<_, _>>()
        .map(Source::Packages)
}

/// The locked package of a component.
pub(super) fn locked<'a>(
    component: &str,
    package: &Package,
    lock: &'a Lock,
    architecture: Architecture,
) -> Result<&'a LockedPackage, SelectError> {
    let wanted = package.wanted(architecture);
    lock.package
        .iter()
        .find(|locked| locked.component == component && locked.wanted == wanted && locked.architecture == architecture)
        .ok_or_else(|| SelectError::NotLocked { component: component.into(), package: wanted, architecture })
}

/// Refuses combinations known not to work. What is given by path has no version we know, and is the giver's business.
fn check_together(refusals: &[Refusal], chosen: &[Chosen<'_>]) -> Result<(), SelectError> {
    let version = |name: &String| chosen.iter().find(|chosen| chosen.name == *name).and_then(Chosen::version);
    for refusal in refusals {
        let versions: Option<Vec<_>> = refusal
            .when
            .iter()
            .map(|(name, bound)| version(name).filter(|version| bound.holds(version)).map(|version| format!("{name} {version}")))
            .collect();
        if let Some(versions) = versions {
            return Err(SelectError::Refused { versions: versions.join(" and "), because: refusal.because.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
