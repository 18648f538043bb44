//! Which crates are in the node's programs, as this workspace's Cargo.lock says.
//!
//! Cargo.lock does not tell which of a crate's dependencies are for its build, its tests or another system alone, so the list may name crates of which
//! nothing is in the program. It never leaves one out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::components::assemble::Record;

const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
/// The component of our own programs.
const OWN: &str = "skerry";
/// Which crate a program is built from.
const PROGRAMS: [(&str, &str); 3] = [("skerry-init", "init"), ("skerry-images", "init"), ("apid", "apid")];

/// Why the list cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the crates of our programs: Cargo.lock of this build is not of a form it reads")]
pub struct SbomError(#[from] toml::de::Error);

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Crate>,
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// SHA-256 of the published archive; none for our own.
    pub(super) checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// All crates of the workspace.
#[derive(Debug)]
pub(super) struct Crates {
    all: BTreeMap<(String, String), Crate>,
}

impl Crates {
    /// Those that this program was locked with.
    pub(super) fn locked() -> Result<Self, SbomError> {
        Self::parse(LOCK)
    }

    pub(super) fn parse(lock: &str) -> Result<Self, SbomError> {
        let lock: Lock = toml::from_str(lock)?;
        Ok(Self { all: lock.package.into_iter().map(|one| ((one.name.clone(), one.version.clone()), one)).collect() })
    }

    /// The crates in one of our programs, the one it is named after included; none for what is not ours.
    pub(super) fn linked_into(&self, record: &Record) -> BTreeSet<&Crate> {
        let program = PROGRAMS.iter().find(|(program, _)| record.component == OWN && record.name == *program);
        let mut found = BTreeSet::new();
        let mut next: Vec<&Crate> = program.and_then(|(_, name)| self.named(name)).into_iter().collect();
        while let Some(one) = next.pop() {
            if found.insert(one) {
                next.extend(one.dependencies.iter().filter_map(|text| self.named(text)));
            }
        }
        found
    }

    /// The crates of all our programs among `records`.
    pub(super) fn of_programs(&self, records: &[Record]) -> BTreeSet<&Crate> {
        records.iter().flat_map(|record| self.linked_into(record)).collect()
    }

    /// A crate as a list of dependencies names it: with its version where there are several, and its source where two of one version are.
    fn named(&self, text: &str) -> Option<&Crate> {
        let mut words = text.split(' ');
        let (name, version) = (words.next()?, words.next());
        let mut same = self.all.range((name.to_owned(), String::new())..).take_while(|((other, _), _)| other == name);
        same.find(|((_, other), _)| version.is_none_or(|version| version == other)).map(|(_, one)| one)
    }
}
