//! The state of Debian's archives at this moment: signed Release files and the package indexes they vouch for. Only locking looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};

use jiff::Timestamp;

use super::digest::Digest;
use super::fetch::{FetchError, Fetcher};
use super::gpgv::SignatureError;
use super::index::{Entry, Index, IndexError};
use super::lockfile::{LockedDeb, LockedRelease};
use super::manifest::{Archive, Manifest, Suite};
use super::release::{Compression, Release, ReleaseError};
use super::version;
use crate::board::Architecture;
use crate::progress::Progress;

/// No Release file is larger than this.
const RELEASE_LIMIT: u64 = 8 << 20;
/// No unpacked package index is larger than this.
const INDEX_LIMIT: u64 = 512 << 20;

/// Why the archive's state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A Release file is not signed as it must be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A Release file is signed but of no use.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A package index is of no use.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Something cannot be fetched, or is not what the Release file says.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An index cannot be unpacked.
    #[error("cannot unpack the package index of {suite}")]
    Unpack {
        /// The suite.
        suite: String,
        /// Why.
        source: io::Error,
    },
}

/// Whether a Release file past its own limit is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is refused; this is the time to compare with.
    Required(Timestamp),
    /// It is used: somebody wants this old state, and says so.
    Waived,
}

/// How signatures are checked: `gpgv`, or a stand-in within tests.
pub type Verifier<'a> = &'a dyn Fn(&str, &[u8]) -> Result<String, SignatureError>;

/// Indexes by suite and architecture, and the Release files behind them.
pub struct ArchiveState {
    releases: Vec<LockedRelease>,
    indexes: BTreeMap<(String, Architecture), Index>,
    archives: BTreeMap<String, Archive>,
}

impl ArchiveState {
    /// Reads every suite the manifest's components use.
    pub fn read(
        manifest: &Manifest,
        fetcher: &Fetcher<'_>,
        verify: Verifier<'_>,
        freshness: Freshness,
        progress: &dyn Progress,
    ) -> Result<Self, ArchiveError> {
        let mut state = Self { releases: Vec::new(), indexes: BTreeMap::new(), archives: BTreeMap::new() };
        for (suite, architectures) in needed(manifest) {
            let Suite { archive, areas } = &manifest.suite[suite];
            let release = state.read_release(suite, *archive, fetcher, verify, freshness, progress)?;
            for architecture in architectures {
                let mut text = String::new();
                for area in areas {
                    read_index(suite, *archive, area, architecture, &release, fetcher, &mut text)?;
                }
                state.indexes.insert((suite.to_owned(), architecture), Index::parse(suite, &text)?);
            }
            state.archives.insert(suite.to_owned(), *archive);
        }
        Ok(state)
    }

    /// The Release files read.
    pub fn releases(&self) -> &[LockedRelease] {
        &self.releases
    }

    /// The index of one suite; none: no component uses it.
    pub fn index(&self, suite: &str, architecture: Architecture) -> Option<&Index> {
        self.indexes.get(&(suite.to_owned(), architecture))
    }

    /// The newest version of a package among suites, with the suite it is in. Of equal versions, the first suite's.
    pub fn newest<'a>(&'a self, name: &str, suites: &'a [String], architecture: Architecture) -> Option<(&'a str, &'a Entry)> {
        let mut newest: Option<(&str, &Entry)> = None;
        for suite in suites {
            let Some(entry) = self.index(suite, architecture).and_then(|index| index.get(name)) else { continue };
            if newest.is_none_or(|(_, kept)| version::compare(&entry.version, &kept.version).is_gt()) {
                newest = Some((suite, entry));
            }
        }
        newest
    }

    /// An index entry as the lock writes it.
    pub fn locked(&self, suite: &str, entry: &Entry) -> LockedDeb {
        LockedDeb {
            name: entry.name.clone(),
            version: entry.version.clone(),
            suite: suite.to_owned(),
            archive: self.archives[suite],
            path: entry.path.clone(),
            size: entry.size,
            sha256: entry.sha256,
        }
    }

    fn read_release(
        &mut self,
        suite: &str,
        archive: Archive,
        fetcher: &Fetcher<'_>,
        verify: Verifier<'_>,
        freshness: Freshness,
        progress: &dyn Progress,
    ) -> Result<Release, ArchiveError> {
        let what = format!("InRelease of {suite}");
        let mirrors = fetcher.mirrors().map_err(FetchError::from)?;
        let url = mirrors.url(archive, &format!("dists/{suite}/InRelease"));
        let mut signed = Vec::new();
        let fetched = fetcher.client().fetch(&url, &format!("fetch {what}"), RELEASE_LIMIT, &mut signed, progress);
        fetched.map_err(FetchError::from)?;
        let text = verify(&what, &signed)?;
        let release = Release::parse(suite, &text)?;
        if let Freshness::Required(now) = freshness {
            release.check_fresh(now)?;
        }
        let sha256 = Digest::of(text.as_bytes());
        self.releases.push(LockedRelease { suite: suite.into(), archive, date: release.date.clone(), sha256 });
        Ok(release)
    }
}

/// Suites with the architectures needed of each.
fn needed(manifest: &Manifest) -> BTreeMap<&str, BTreeSet<Architecture>> {
    let mut needed: BTreeMap<&str, BTreeSet<Architecture>> = BTreeMap::new();
    for component in manifest.component.values() {
        for suite in &component.suites {
            needed.entry(suite).or_default().extend(&component.architectures);
        }
    }
    needed
}

/// Appends the index of one area to `text`. Areas of a suite are one set of packages; an index ends with an empty line or at once.
fn read_index(
    suite: &str,
    archive: Archive,
    area: &str,
    architecture: Architecture,
    release: &Release,
    fetcher: &Fetcher<'_>,
    text: &mut String,
) -> Result<(), ArchiveError> {
    let address = release.packages_index(area, architecture.debian())?;
    let what = format!("package index of {suite} ({area}) for {architecture}");
    let path = fetcher.obtain(&what, address.sha256, address.size, || Ok(fetcher.mirrors()?.url(archive, &address.path)))?;
    let unpack = |source| ArchiveError::Unpack { suite: suite.into(), source };
    let packed = io::BufReader::new(File::open(path).map_err(unpack)?);
    match address.form {
        Compression::Xz => lzma_rust2::XzReader::new(packed, true).take(INDEX_LIMIT).read_to_string(text),
        Compression::Gzip => flate2::read::MultiGzDecoder::new(packed).take(INDEX_LIMIT).read_to_string(text),
    }
    .map_err(unpack)?;
    text.push('\n');
    Ok(())
}
