//! The archive's Release file: which index files a suite has, with their hashes, and how long that may be believed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::control::{Paragraph, paragraphs};
use super::digest::Digest;

/// What a verified Release file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// When it was written, as it says.
    pub date: String,
    codename: String,
    valid_until: Option<String>,
    by_hash: bool,
    files: BTreeMap<String, IndexFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexFile {
    sha256: Digest,
    size: u64,
}

/// An index file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAddress {
    /// Path below the archive's base address.
    pub path: String,
    /// What it must be.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
    /// How it is compressed.
    pub form: Compression,
}

/// Compression of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
}

/// Why a Release file is of no use, although its signature is good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It lacks a field, or a field is not what it must be.
    #[error("cannot use the Release file of {suite}: {reason}")]
    Malformed {
        /// The suite.
        suite: String,
        /// What is wrong.
        reason: String,
    },
    /// It is for another suite: somebody serves one suite under another's name.
    #[error("cannot use the Release file of {suite}: it is signed for {found}")]
    OtherSuite {
        /// The suite asked for.
        suite: String,
        /// What it says it is.
        found: String,
    },
    /// It is too old to be believed.
    #[error(
        "cannot use the Release file of {suite}: it was valid until {until}; use a mirror that is up to date, or say \
         `--allow-expired` if this old state is what you want"
    )]
    Expired {
        /// The suite.
        suite: String,
        /// Its own limit.
        until: String,
    },
    /// It lists no package index for an architecture.
    #[error("cannot use the Release file of {suite}: it lists no {index} (xz or gz)")]
    NoIndex {
        /// The suite.
        suite: String,
        /// The index looked for.
        index: String,
    },
}

impl Release {
    /// Parses the signed text and checks that it is for `suite`.
    pub fn parse(suite: &str, text: &str) -> Result<Self, ReleaseError> {
        let malformed = |reason: &str| ReleaseError::Malformed { suite: suite.into(), reason: reason.into() };
        let paragraph = paragraphs(text).next().ok_or_else(|| malformed("it is empty"))?;
        let field = |name: &str| paragraph.get(name).map(|value| value.into_owned());
        let codename = field("Codename").ok_or_else(|| malformed("it has no Codename"))?;
        if codename != suite {
            return Err(ReleaseError::OtherSuite { suite: suite.into(), found: codename });
        }
        Ok(Self {
            date: field("Date").ok_or_else(|| malformed("it has no Date"))?,
            codename,
            valid_until: field("Valid-Until"),
            by_hash: field("Acquire-By-Hash").as_deref() == Some("yes"),
            files: index_files(&paragraph).ok_or_else(|| malformed("it has no readable SHA256 list"))?,
        })
    }

    /// Refuses a Release file past its own limit, so that nobody can hold back updates unseen.
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), ReleaseError> {
        let Some(until) = &self.valid_until else { return Ok(()) };
        let malformed =
            || ReleaseError::Malformed { suite: self.codename.clone(), reason: format!("its date `{until}` is none") };
        if parse_date(until).ok_or_else(malformed)? < now {
            return Err(ReleaseError::Expired { suite: self.codename.clone(), until: until.clone() });
        }
        Ok(())
    }

    /// Where the package index of an archive area is, in the smallest form we read.
    pub fn packages_index(&self, area: &str, debian_arch: &str) -> Result<IndexAddress, ReleaseError> {
        let folder = format!("{area}/binary-{debian_arch}");
        let index = format!("{folder}/Packages");
        for (suffix, form) in [("xz", Compression::Xz), ("gz", Compression::Gzip)] {
            if let Some(file) = self.files.get(&format!("{index}.{suffix}")) {
                let name = match self.by_hash {
                    true => format!("{folder}/by-hash/SHA256/{}", file.sha256),
                    false => format!("{index}.{suffix}"),
                };
                let path = format!("dists/{}/{name}", self.codename);
                return Ok(IndexAddress { path, sha256: file.sha256, size: file.size, form });
            }
        }
        Err(ReleaseError::NoIndex { suite: self.codename.clone(), index })
    }
}

fn index_files(paragraph: &Paragraph<'_>) -> Option<BTreeMap<String, IndexFile>> {
    let list = paragraph.get("SHA256")?;
    let lines = list.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (sha256, size, name) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
            Some((name.to_owned(), IndexFile { sha256, size }))
        })
        .collect()
}

/// `Sat, 12 Sep 2026 07:55:41 UTC`: RFC 2822 but for the name of the zone.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix("UTC").or_else(|| text.strip_suffix("GMT"))?;
    jiff::fmt::rfc2822::parse(&format!("{text}GMT")).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(extra: &str) -> String {
        let digest = Digest::of(b"index");
        format!(
            "Origin: Debian\nCodename: trixie\nDate: Wed, 18 Nov 2026 02:10:24 UTC\nValid-Until: Wed, 25 Nov 2026 02:10:24 UTC\n{extra}\
             SHA256:\n {digest} 5 main/binary-amd64/Packages\n {digest} 5 main/binary-amd64/Packages.xz\n"
        )
    }

    #[test]
    fn an_index_is_found_by_name_or_by_hash() {
        let plain = Release::parse("trixie", &text("")).expect("release").packages_index("main", "amd64").expect("index");
        assert_eq!(plain.path, "dists/trixie/main/binary-amd64/Packages.xz");
        let hashed = Release::parse("trixie", &text("Acquire-By-Hash: yes\n")).expect("release");
        let address = hashed.packages_index("main", "amd64").expect("index");
        assert_eq!(address.path, format!("dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Digest::of(b"index")));
        for (area, arch) in [("main", "m68k"), ("non-free-firmware", "amd64")] {
            assert!(matches!(hashed.packages_index(area, arch), Err(ReleaseError::NoIndex { .. })), "{area} {arch}");
        }
    }

    #[test]
    fn another_suite_s_release_file_is_refused() {
        let error = Release::parse("sid", &text("")).expect_err("trixie is not sid");
        assert_eq!(error, ReleaseError::OtherSuite { suite: "sid".into(), found: "trixie".into() });
    }

    #[test]
    fn an_old_release_file_is_refused() {
        let release = Release::parse("trixie", &text("")).expect("release");
        let at = |text: &str| text.parse::<Timestamp>().expect("time");
        assert_eq!(release.check_fresh(at("2026-11-25T02:10:23Z")), Ok(()));
        assert!(matches!(release.check_fresh(at("2026-11-25T02:10:25Z")), Err(ReleaseError::Expired { .. })));
    }

    #[test]
    fn broken_release_files_are_refused() {
        for broken in ["", "Codename: trixie\n", &text("").replace(" 5 ", " five "), &text("").replace("SHA256:", "MD5Sum:")] {
            assert!(matches!(Release::parse("trixie", broken), Err(ReleaseError::Malformed { .. })), "{broken}");
        }
    }
}
