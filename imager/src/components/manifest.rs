//! `kernel/components.toml`: what an image is made of, where it comes from, which files are taken and where they go.
//!
//! Read strictly. It names packages and pinned files by component; the exact versions of packages are the lock's business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::arch::expand;
use super::digest::Digest;
use super::version::Bound;
use crate::board::Architecture;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Debian suites, by code name.
    pub suite: BTreeMap<String, Suite>,
    /// Components, by name.
    pub component: BTreeMap<String, Component>,
    /// Combinations known not to work.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
}

/// One suite of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The archive it is published in.
    pub archive: Archive,
    /// The archive areas that are looked into; `non-free-firmware` is where firmware and microcode are.
    #[serde(default = "main_alone")]
    pub areas: Vec<String>,
}

fn main_alone() -> Vec<String> {
    vec!["main".into()]
}

/// Debian's archives; each has its own base address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The main archive.
    Debian,
    /// Security updates.
    DebianSecurity,
}

impl Archive {
    /// The name in files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::DebianSecurity => "debian-security",
        }
    }
}

/// What a component is for; it decides where its files may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A kernel with its modules; a board names one.
    Kernel,
    /// Boot loader and UKI stub.
    Loader,
    /// Firmware files a board's modules load; a board names them by path.
    Firmware,
    /// Files that a board's own firmware reads from the boot partition; a board names one such component.
    BootFiles,
    /// Processor microcode, loaded before the kernel does anything else; a board names one such component.
    Microcode,
    /// Part of the runtime image.
    Runtime,
    /// Used by tests, in no image.
    Test,
    /// Programs that tests run on the building machine, with their libraries; in no image.
    Tool,
}

/// One component: packages, or one pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Component {
    /// What it is for.
    pub role: Role,
    /// Architectures it is locked for.
    pub architectures: Vec<Architecture>,
    /// Whether `--without` may leave it out.
    #[serde(default)]
    pub optional: bool,
    /// Another component without which this one makes no sense.
    pub along_with: Option<String>,
    /// Suites its packages are looked for in; the newest version wins. Libraries come from the first.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Packages; the first one's version is the component's.
    #[serde(default)]
    pub package: Vec<Package>,
    /// A pinned file from elsewhere.
    pub file: Option<PinnedFile>,
    /// Symbolic links to add: path → target.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Files made of others, joined in the order of their names: path → glob over the packages' files.
    #[serde(default)]
    pub join: BTreeMap<String, String>,
}

/// Which files of a Debian package are taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// The package's name; `{arch}` becomes Debian's architecture name.
    pub name: String,
    /// The named package is empty: take the dependency whose name matches the first glob instead, of that the one that matches the next.
    #[serde(default)]
    pub follow: Vec<String>,
    /// Globs of files that keep their path (merged-usr: `bin/x` is `usr/bin/x`).
    #[serde(default)]
    pub take: Vec<String>,
    /// Globs of files that move: glob → path, or folder when it ends in `/`.
    #[serde(default)]
    pub place: BTreeMap<String, String>,
}

/// One file from a release page, pinned by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PinnedFile {
    /// The upstream version.
    pub version: String,
    /// Path in the image, or folder when it ends in `/`.
    pub to: String,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
    /// The pin of each architecture.
    pub pin: BTreeMap<Architecture, Pin>,
}

/// Address and hash of a pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Where it is published.
    pub url: String,
    /// What it must be.
    pub sha256: Digest,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
}

/// Versions that must not meet in one image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Component → bound; all must hold for the refusal to bite.
    pub when: BTreeMap<String, Bound>,
    /// What goes wrong, for the message.
    pub because: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it must be.
    #[error("cannot use {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, on one line.
        reason: String,
    },
}

impl Package {
    /// What the lock knows this entry by: the name, and where following it ends.
    pub fn wanted(&self, arch: Architecture) -> String {
        let name = expand(arch, &self.name);
        match self.follow.last() {
            Some(last) => format!("{name} > {}", expand(arch, last)),
            None => name,
        }
    }
}

impl Manifest {
    /// Reads and checks a components file.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|reason| ManifestError::Invalid { path: path.into(), reason })
    }

    /// Parses and checks; the error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        for (name, component) in &self.component {
            self.check_component(component).map_err(|reason| format!("component `{name}`: {reason}"))?;
        }
        let named = self.refuse.iter().flat_map(|refusal| refusal.when.keys());
        match named.into_iter().find(|name| !self.component.contains_key(*name)) {
            Some(name) => Err(format!("`refuse` names `{name}`, which is no component")),
            None => Ok(()),
        }
    }

    fn check_component(&self, component: &Component) -> Result<(), String> {
        if component.package.is_empty() == component.file.is_none() {
            return Err("it needs either `package` entries or `file`".into());
        }
        if component.file.is_some() && component.role == Role::Tool {
            return Err("a tool comes from packages: its libraries are found among them".into());
        }
        if component.suites.is_empty() != component.package.is_empty() {
            return Err("`suites` belongs to `package` entries, and they to it".into());
        }
        if let Some(suite) = component.suites.iter().find(|suite| !self.suite.contains_key(*suite)) {
            return Err(format!("suite `{suite}` has no [suite.{suite}] table"));
        }
        if let Some(other) = component.along_with.as_ref().filter(|other| !self.component.contains_key(*other)) {
            return Err(format!("`along-with` names `{other}`, which is no component"));
        }
        match component.architectures.iter().find(|arch| component.file.as_ref().is_some_and(|f| !f.pin.contains_key(arch))) {
            Some(arch) => Err(format!("no pin for {arch}")),
            None => Ok(()),
        }
    }
}

/// One line for a TOML error: line number and message.
pub(crate) fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
    format!("line {line}: {}", error.message().lines().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[suite.trixie]
archive = "debian"

[component.tool]
role = "runtime"
architectures = ["x86_64"]
suites = ["trixie"]
[[component.tool.package]]
name = "tool"
take = ["usr/bin/tool"]

[[refuse]]
when = { tool = "< 2" }
because = "too old"
"#;

    #[test]
    fn mistakes_are_named() {
        assert!(Manifest::parse(GOOD).is_ok());
        for (from, to, message) in [
            ("take =", "tkae =", "unknown field `tkae`"),
            ("[\"trixie\"]", "[\"sarge\"]", "suite `sarge` has no [suite.sarge] table"),
            ("suites = [\"trixie\"]", "", "`suites` belongs to"),
            ("{ tool =", "{ tol =", "`tol`, which is no component"),
            ("< 2", "under 2", "version bound"),
            ("role =", "along-with = \"x\"\nrole =", "`along-with` names `x`"),
            ("[[component.tool.package]]\nname = \"tool\"\ntake = [\"usr/bin/tool\"]", "", "needs either"),
        ] {
            let reason = Manifest::parse(&GOOD.replace(from, to)).expect_err(message);
            assert!(reason.contains(message) && !reason.contains('\n'), "{reason:?} lacks {message:?}");
        }
    }

    #[test]
    fn the_project_s_own_file_is_good() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/components.toml");
        Manifest::load(&path).expect("components.toml");
    }
}
