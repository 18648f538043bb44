//! `imager fetch`, and the fetching every build does: what the lock or a pin names goes into the cache, checked.
//!
//! Nothing is handed out that does not have the hash it was named by, however it came into the cache.

use std::cell::OnceCell;
use std::path::PathBuf;

use super::cache::{Cache, CacheError, Found};
use super::digest::Digest;
use super::http::{Client, HttpError};
use super::lockfile::{LockedDeb, Users};
use super::manifest::{Component, Pin};
use super::mirror::{MirrorChoice, MirrorError, Mirrors};
pub use super::options::ComponentOptions as FetchOptions;
use super::options::OptionsError;
use super::select::{SelectError, Source, choose};
use crate::board::Board;
use crate::progress::{Event, Progress};

/// No pinned file is larger than this.
const PIN_LIMIT: u64 = 2 << 30;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No archive is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive has moved on.
    #[error(
        "cannot fetch {package} {version}: it has left the archive ({url} is gone); run `imager lock` to update components.lock"
    )]
    Gone {
        /// The package.
        package: String,
        /// The version locked.
        version: String,
        /// Where it was.
        url: String,
    },
    /// The server cannot be reached or refuses.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server has other bytes under that name.
    #[error("cannot use what {url} answered: its SHA-256 is {found}, expected {expected}; something else answered in its place")]
    Wrong {
        /// Where it came from.
        url: String,
        /// The hash named.
        expected: Digest,
        /// The hash found.
        found: Digest,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Fetches into one cache; looks archives up only when something has to be fetched.
pub struct Fetcher<'a> {
    cache: &'a Cache,
    client: Client,
    choice: MirrorChoice,
    mirrors: OnceCell<Mirrors>,
    progress: &'a dyn Progress,
}

impl<'a> Fetcher<'a> {
    /// A fetcher for the archives of `choice`.
    pub fn new(cache: &'a Cache, choice: MirrorChoice, progress: &'a dyn Progress) -> Self {
        Self { cache, client: Client::new(), choice, mirrors: OnceCell::new(), progress }
    }

    /// A locked package, checked.
    pub fn deb(&self, deb: &LockedDeb) -> Result<PathBuf, FetchError> {
        let what = format!("{} {}", deb.name, deb.version);
        let url = || Ok(self.mirrors()?.url(deb.archive, &deb.path));
        self.obtain(&what, deb.sha256, deb.size, url).map_err(|error| match error {
            FetchError::Http(HttpError::NotFound { url }) => {
                FetchError::Gone { package: deb.name.clone(), version: deb.version.clone(), url }
            }
            other => other,
        })
    }

    /// A pinned file, checked.
    pub fn pin(&self, name: &str, pin: &Pin) -> Result<PathBuf, FetchError> {
        self.obtain(name, pin.sha256, pin.size.unwrap_or(PIN_LIMIT), || Ok(pin.url.clone()))
    }

    /// The archives' addresses.
    pub(super) fn mirrors(&self) -> Result<&Mirrors, MirrorError> {
        if let Some(mirrors) = self.mirrors.get() {
            return Ok(mirrors);
        }
        let mirrors = Mirrors::resolve(&self.choice)?;
        Ok(self.mirrors.get_or_init(|| mirrors))
    }

    /// The client, for files that have no hash yet.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The file of that hash: from the cache, else from `url`.
    pub(super) fn obtain(
        &self,
        what: &str,
        digest: Digest,
        limit: u64,
        url: impl FnOnce() -> Result<String, FetchError>,
    ) -> Result<PathBuf, FetchError> {
        match self.cache.look(digest)? {
            Found::Good(path) => return Ok(path),
            Found::Nothing => {}
            Found::Corrupt(path) => {
                let message = format!("removed the corrupt cache file {}; fetching {what} again", path.display());
                self.progress.event(Event::Warn { message: &message });
            }
        }
        let url = url()?;
        let mut entry = self.cache.entry()?;
        self.client.fetch(&url, &format!("fetch {what}"), limit, &mut entry, self.progress)?;
        entry.keep_if(self.cache, digest)?.map_err(|found| FetchError::Wrong { url, expected: digest, found })
    }
}

/// A component that cannot be had, and the ways out.
#[derive(Debug, thiserror::Error)]
#[error("cannot have component `{name}`; {ways_out}")]
pub struct Unavailable {
    name: String,
    ways_out: String,
    source: Box<FetchError>,
}

impl Unavailable {
    /// The component.
    pub fn component(&self) -> &str {
        &self.name
    }
}

/// Makes a component's error of why it cannot be fetched. What another component could not help is passed on as it is.
pub(super) fn refusal<E>(name: &str, component: &Component) -> impl FnOnce(FetchError) -> E + use<E>
where
    E: From<Unavailable> + From<FetchError>,
{
    let name = name.to_owned();
    let archive = if component.file.is_none() { "name another archive with `--mirror`, or " } else { "" };
    let leave_out = if component.optional { format!(" or leave it out with `--without {name}`") } else { String::new() };
    let ways_out = format!("{archive}give it with `--component {name}=PATH`{leave_out}");
    move |error| match error {
        error @ (FetchError::Cache(_) | FetchError::Mirror(_)) => error.into(),
        source @ (FetchError::Gone { .. } | FetchError::Http(_) | FetchError::Wrong { .. }) => {
            Unavailable { name, ways_out, source: Box::new(source) }.into()
        }
    }
}

/// Why `imager fetch` failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchRunError {
    /// components.toml, components.lock or the cache cannot be opened.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The components asked for do not fit.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A component cannot be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A shared library's package cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// One file that is in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Package or component.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its content.
    pub sha256: Digest,
    /// Where it lies.
    pub path: PathBuf,
}

/// Fetches everything a build for `board` would use, so that the build needs no network.
pub fn run(board: &Board, options: &FetchOptions, progress: &dyn Progress) -> Result<Vec<Fetched>, FetchRunError> {
    let opened = options.open()?;
    let fetcher = Fetcher::new(&opened.cache, options.mirrors.clone(), progress);
    let mut fetched = Vec::new();
    for chosen in choose(&opened.manifest, &opened.lock, board, &options.wishes)? {
        match &chosen.source {
            Source::Given(_) => {}
            Source::Packages(packages) => {
                for (_, locked) in packages {
                    let path = fetcher.deb(&locked.deb).map_err(refusal::<FetchRunError>(&chosen.name, chosen.component))?;
                    fetched.push(fetched_deb(&locked.deb, path));
                }
            }
            Source::Pinned(file, pin) => {
                let path = fetcher.pin(&chosen.name, pin).map_err(refusal::<FetchRunError>(&chosen.name, chosen.component))?;
                fetched.push(Fetched { name: chosen.name.clone(), version: file.version.clone(), sha256: pin.sha256, path });
            }
        }
    }
    for library in opened.lock.libraries(board.architecture, Users::Runtime) {
        fetched.push(fetched_deb(&library.deb, fetcher.deb(&library.deb)?));
    }
    Ok(fetched)
}

fn fetched_deb(deb: &LockedDeb, path: PathBuf) -> Fetched {
    Fetched { name: deb.name.clone(), version: deb.version.clone(), sha256: deb.sha256, path }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::super::http::testing::serve;
    use super::super::manifest::{Archive, Manifest};
    use super::*;
    use crate::progress::testing::Warnings;

    struct Bench {
        _folder: tempfile::TempDir,
        cache: Cache,
        base: String,
        log: std::sync::Arc<Mutex<Vec<String>>>,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        let (base, log) = serve(vec![("/debian/pool/a.deb".into(), b"package".to_vec())]);
        Bench { _folder: folder, cache, base, log }
    }

    fn deb(path: &str, content: &[u8]) -> LockedDeb {
        LockedDeb {
            name: "a".into(),
            version: "1-2".into(),
            suite: "sid".into(),
            archive: Archive::Debian,
            path: path.into(),
            size: content.len() as u64,
            sha256: Digest::of(content),
        }
    }

    fn fetch(bench: &Bench, deb: &LockedDeb, warnings: &Warnings) -> Result<PathBuf, FetchError> {
        let choice = MirrorChoice { main: Some(format!("{}/debian", bench.base)), security: None };
        Fetcher::new(&bench.cache, choice, warnings).deb(deb)
    }

    #[test]
    fn a_corrupt_cache_file_is_named_and_fetched_again() {
        let (bench, warnings) = (bench(), Warnings::default());
        let deb = deb("pool/a.deb", b"package");
        let path = fetch(&bench, &deb, &warnings).expect("fetched");
        fetch(&bench, &deb, &warnings).expect("from the cache");
        assert_eq!(bench.log.lock().expect("log").len(), 1);
        std::fs::write(&path, b"damaged").expect("damaged");
        assert_eq!(fetch(&bench, &deb, &warnings).expect("fetched again"), path);
        assert_eq!(std::fs::read(&path).expect("file"), b"package");
        assert!(warnings.all()[0].contains(&path.display().to_string()));
    }

    #[test]
    fn a_package_that_left_the_archive_names_the_remedy() {
        let bench = bench();
        let error = fetch(&bench, &deb("pool/gone.deb", b"x"), &Warnings::default()).expect_err("gone").to_string();
        assert!(error.contains("a 1-2") && error.contains("left the archive") && error.contains("`imager lock`"), "{error}");
    }

    #[test]
    fn other_bytes_than_locked_are_not_kept() {
        let bench = bench();
        let error = fetch(&bench, &deb("pool/a.deb", b"pakcage"), &Warnings::default()).expect_err("other bytes");
        assert!(matches!(error, FetchError::Wrong { found, .. } if found == Digest::of(b"package")));
        assert_eq!(bench.cache.look(Digest::of(b"package")).expect("look"), Found::Nothing);
    }

    #[test]
    fn an_unreachable_component_names_both_ways_out() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        let warnings = Warnings::default();
        let pin = Pin { url: "http://127.0.0.1:9/k3s".into(), sha256: Digest::of(b"k3s"), size: None };
        let error = Fetcher::new(&cache, MirrorChoice::default(), &warnings).pin("k3s", &pin).expect_err("offline");
        let manifest = Manifest::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/components.toml")).expect("loaded");
        let error: FetchRunError = refusal("k3s", &manifest.component["k3s"])(error);
        let text = format!("{:#}", anyhow::Error::new(error));
        for part in ["`--component k3s=PATH`", "`--without k3s`", "http://127.0.0.1:9/k3s"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
