//! The package index of a suite (`Packages`): what each package is, where it lies, and what it depends on.

use std::collections::BTreeMap;

use super::control::{Paragraph, paragraphs};
use super::digest::Digest;
use super::version;

/// The packages of one suite and architecture.
#[derive(Debug, Clone, Default)]
pub struct Index {
    packages: BTreeMap<String, Entry>,
    providers: BTreeMap<String, Vec<String>>,
}

/// One package of the index; of several versions, the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// Its path below the archive's base address.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub sha256: Digest,
    /// Names it depends on, alternatives included, in the order given. Their versions are not looked at: all come from one suite.
    pub depends: Vec<String>,
}

/// An index entry that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the package index of {suite}: package `{package}` has no usable {field}")]
pub struct IndexError {
    suite: String,
    package: String,
    field: &'static str,
}

impl Index {
    /// Parses the text of a `Packages` file.
    pub fn parse(suite: &str, text: &str) -> Result<Self, IndexError> {
        let mut index = Self::default();
        for paragraph in paragraphs(text) {
            let Some(name) = paragraph.get("Package") else { continue };
            let entry = entry(&paragraph, &name).map_err(|field| IndexError {
                suite: suite.into(),
                package: name.clone().into_owned(),
                field,
            })?;
            for provided in names(&paragraph.get("Provides").unwrap_or_default()) {
                index.providers.entry(provided).or_default().push(entry.name.clone());
            }
            index.keep_newest(entry);
        }
        Ok(index)
    }

    fn keep_newest(&mut self, entry: Entry) {
        let older = self.packages.get(&entry.name).is_some_and(|kept| version::compare(&kept.version, &entry.version).is_ge());
        if !older {
            self.packages.insert(entry.name.clone(), entry);
        }
    }

    /// The package of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.packages.get(name)
    }

    /// What a dependency's name leads to: the package itself, else those that provide it.
    pub fn satisfying<'a>(&'a self, name: &'a str) -> Vec<&'a Entry> {
        match self.packages.get(name) {
            Some(entry) => vec![entry],
            None => self.providers.get(name).into_iter().flatten().filter_map(|name| self.packages.get(name)).collect(),
        }
    }
}

fn entry(paragraph: &Paragraph<'_>, name: &str) -> Result<Entry, &'static str> {
    let field = |field: &'static str| paragraph.get(field).map(|value| value.into_owned()).ok_or(field);
    let path = field("Filename")?;
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err("Filename");
    }
    let mut depends = names(&paragraph.get("Pre-Depends").unwrap_or_default());
    depends.extend(names(&paragraph.get("Depends").unwrap_or_default()));
    Ok(Entry {
        name: name.into(),
        version: field("Version")?,
        path,
        size: field("Size")?.parse().map_err(|_| "Size")?,
        sha256: field("SHA256")?.parse().map_err(|_| "SHA256")?,
        depends,
    })
}

/// The names in a dependency field: `a (>= 1) | b:any, c` gives a, b, c.
fn names(field: &str) -> Vec<String> {
    let words = field.split([',', '|']).map(|word| word.trim().split([' ', '(', ':', '[', '<', '\n']).next().unwrap_or_default());
    words.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, more: &str) -> String {
        let sha256 = Digest::of(version.as_bytes());
        format!("Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSize: 3\nSHA256: {sha256}\n{more}\n")
    }

    #[test]
    fn the_newest_version_is_kept() {
        let text = [stanza("a", "1.10-1", ""), stanza("a", "1.9-1", ""), stanza("a", "1.2-1", "")].concat();
        assert_eq!(Index::parse("sid", &text).expect("index").get("a").expect("a").version, "1.10-1");
    }

    #[test]
    fn dependencies_lead_to_providers() {
        let text = [
            stanza("a", "1", "Depends: virtual (>= 2) | b:any, c [amd64]\nPre-Depends: d\n"),
            stanza("real", "1", "Provides: virtual (= 3)\n"),
        ]
        .concat();
        let index = Index::parse("sid", &text).expect("index");
        assert_eq!(index.get("a").expect("a").depends, ["d", "virtual", "b", "c"]);
        assert_eq!(index.satisfying("virtual")[0].name, "real");
        assert!(index.satisfying("b").is_empty());
    }

    #[test]
    fn broken_entries_are_named() {
        for (from, to, field) in [
            ("Size: 3", "Size: many", "Size"),
            ("SHA256: ", "SHA256: x", "SHA256"),
            ("pool/", "../pool/", "Filename"),
            ("Version: 1\n", "", "Version"),
        ] {
            let error = Index::parse("sid", &stanza("a", "1", "").replace(from, to)).expect_err(field);
            assert_eq!(error, IndexError { suite: "sid".into(), package: "a".into(), field });
        }
    }
}
