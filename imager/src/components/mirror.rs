//! Which Debian archive to ask: an explicit address, else the environment, else the host's own apt configuration.
//!
//! The project names no archive. Parsing and choosing are pure; [`Mirrors::resolve`] alone touches the host.

use std::path::{Path, PathBuf};

use super::manifest::Archive;

/// Environment variable with the main archive's base address.
pub const MIRROR_VARIABLE: &str = "SKERRY_MIRROR";

/// Environment variable with the security archive's base address.
pub const SECURITY_MIRROR_VARIABLE: &str = "SKERRY_SECURITY_MIRROR";

/// Base addresses, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    main: String,
    security: String,
}

/// What a caller states about archives; what is not stated is looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorChoice {
    /// `--mirror`: the main archive's base address.
    pub main: Option<String>,
    /// `--security-mirror`: the security archive's base address.
    pub security: Option<String>,
}

impl MirrorChoice {
    /// Looks at the form of what is stated, also when nothing will have to be fetched.
    pub fn check(&self) -> Result<(), MirrorError> {
        self.main.iter().chain(&self.security).try_for_each(|address| checked(address).map(drop))
    }
}

/// Why no archive is known.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Neither stated nor configured.
    #[error(
        "cannot tell where Debian's {} archive is: this host's apt configuration names none; give its address with `--{}` or {}",
        archive.as_str(), flag(*archive), variable(*archive)
    )]
    Unknown {
        /// The archive looked for.
        archive: Archive,
    },
    /// Stated, but not an HTTP address.
    #[error("cannot use `{address}` as an archive's address: it must be http:// or https:// and a host's name")]
    Address {
        /// As stated.
        address: String,
    },
}

fn flag(archive: Archive) -> &'static str {
    match archive {
        Archive::Debian => "mirror",
        Archive::DebianSecurity => "security-mirror",
    }
}

fn variable(archive: Archive) -> &'static str {
    match archive {
        Archive::Debian => MIRROR_VARIABLE,
        Archive::DebianSecurity => SECURITY_MIRROR_VARIABLE,
    }
}

/// One binary source of apt's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Mirrors {
    /// Looks at `choice`, then the environment, then `/etc/apt`.
    pub fn resolve(choice: &MirrorChoice) -> Result<Self, MirrorError> {
        let stated = |value: &Option<String>, variable| value.clone().or_else(|| environment(variable));
        let main = stated(&choice.main, MIRROR_VARIABLE);
        let security = stated(&choice.security, SECURITY_MIRROR_VARIABLE);
        Self::choose(main.as_deref(), security.as_deref(), &host_sources(Path::new("/etc/apt")))
    }

    /// The decision alone: stated addresses win, then the host's sources, then the security archive beside the main one.
    pub fn choose(main: Option<&str>, security: Option<&str>, host: &[AptSource]) -> Result<Self, MirrorError> {
        let from_host = |archive| host.iter().find(|source| source.serves(archive)).map(|source| source.uri.clone());
        let host_security = if main.is_none() { from_host(Archive::DebianSecurity) } else { None };
        let main = match main {
            Some(address) => checked(address)?,
            None => from_host(Archive::Debian).ok_or(MirrorError::Unknown { archive: Archive::Debian })?,
        };
        let security = match security {
            Some(address) => checked(address)?,
            None => host_security
                .or_else(|| beside(&main))
                .or_else(|| from_host(Archive::DebianSecurity))
                .ok_or(MirrorError::Unknown { archive: Archive::DebianSecurity })?,
        };
        Ok(Self { main, security })
    }

    /// The address of a path below an archive's base.
    pub fn url(&self, archive: Archive, path: &str) -> String {
        let base = match archive {
            Archive::Debian => &self.main,
            Archive::DebianSecurity => &self.security,
        };
        format!("{base}/{}", encode(path))
    }
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn is_http(address: &str) -> bool {
    address.starts_with("http://") || address.starts_with("https://")
}

/// Whether an address a person states can be one.
fn is_address(address: &str) -> bool {
    let host = address.split_once("://").map_or("", |(_, rest)| rest.trim_matches('/'));
    is_http(address) && !host.is_empty() && !address.contains(char::is_whitespace)
}

fn trimmed(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

fn checked(address: &str) -> Result<String, MirrorError> {
    if is_address(address) { Ok(trimmed(address)) } else { Err(MirrorError::Address { address: address.into() }) }
}

/// Mirrors that carry both archives keep them side by side.
fn beside(main: &str) -> Option<String> {
    main.strip_suffix("/debian").map(|base| format!("{base}/debian-security"))
}

/// `+` and `~` of versions are fine in a path; a space or percent sign is not.
fn encode(path: &str) -> String {
    path.replace('%', "%25").replace(' ', "%20")
}

/// Names under which Debian publishes its main archive's suites.
const DEBIAN_SUITES: [&str; 10] =
    ["stable", "testing", "unstable", "oldstable", "sid", "bullseye", "bookworm", "trixie", "forky", "duke"];

impl AptSource {
    fn serves(&self, archive: Archive) -> bool {
        let debian = |suite: &str| {
            let (name, kind) = suite.split_once(['-', '/']).unwrap_or((suite, ""));
            let security = kind == "security" || (kind == "updates" && suite.contains('/'));
            DEBIAN_SUITES.contains(&name) && security == (archive == Archive::DebianSecurity)
        };
        is_http(&self.uri) && self.components.iter().any(|name| name == "main") && self.suites.iter().any(|suite| debian(suite))
    }
}

/// Sources of the one-line form: `deb [options] URI SUITE COMPONENT…`.
pub fn parse_one_line(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(|line| parse_line(line.split('#').next().unwrap_or_default())).collect()
}

fn parse_line(line: &str) -> Option<AptSource> {
    let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(AptSource { uri: trimmed(&uri), suites: vec![suite], components: words.collect() })
}

/// Sources of the deb822 form (`*.sources`).
pub fn parse_deb822(text: &str) -> Vec<AptSource> {
    super::control::paragraphs(text).flat_map(|paragraph| deb822_sources(&paragraph)).collect()
}

fn deb822_sources(paragraph: &super::control::Paragraph<'_>) -> Vec<AptSource> {
    let words = |field: &str| -> Vec<String> {
        let value = paragraph.get(field).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    let enabled = !matches!(paragraph.get("Enabled").as_deref(), Some("no" | "false" | "0" | "off"));
    if !enabled || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let source = |uri: String| AptSource { uri: trimmed(&uri), suites: words("Suites"), components: words("Components") };
    words("URIs").into_iter().map(source).collect()
}

/// Every source of an apt folder, in apt's order. What cannot be read counts as absent: the caller then asks for `--mirror`.
fn host_sources(apt: &Path) -> Vec<AptSource> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.push(apt.join("sources.list"));
    files.sort();
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap_or_default();
    let parse = |file: &PathBuf| match file.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => parse_deb822(&read(file)),
        Some("list") => parse_one_line(&read(file)),
        Some(_) | None => Vec::new(),
    };
    files.iter().flat_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb
# a comment
URIs: http://one.test/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://two.test/secure
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: nothing
";

    fn urls(main: Option<&str>, security: Option<&str>, host: &[AptSource]) -> Result<(String, String), MirrorError> {
        let mirrors = Mirrors::choose(main, security, host)?;
        Ok((mirrors.url(Archive::Debian, "x"), mirrors.url(Archive::DebianSecurity, "x")))
    }

    #[test]
    fn deb822_sources_are_told_apart() {
        let (main, security) = urls(None, None, &parse_deb822(DEB822)).expect("both");
        assert_eq!((main.as_str(), security.as_str()), ("http://one.test/debian/x", "http://two.test/secure/x"));
    }

    #[test]
    fn sources_that_do_not_serve_are_skipped() {
        for (name, text) in [
            ("disabled", DEB822.replace("Types: deb\n# a", "Enabled: no\nTypes: deb\n# a")),
            ("sources only", DEB822.replace("Types: deb\n#", "Types: deb-src\n#")),
            ("another distribution", DEB822.replace("bookworm bookworm-updates", "jammy")),
            ("no main", DEB822.replacen("Components: main", "Components: contrib", 1)),
            ("a disc", DEB822.replace("http://one.test", "cdrom:")),
        ] {
            let error = urls(None, None, &parse_deb822(&text)).expect_err(name).to_string();
            assert!(error.contains("--mirror") && error.contains("SKERRY_MIRROR"), "{error}");
        }
    }

    #[test]
    fn one_line_sources_with_options_and_comments() {
        let text = "# deb http://no.test/debian sid main\ndeb-src http://no.test/debian sid main\n\
                    deb [arch=amd64 signed-by=/x y] http://yes.test/debian trixie main contrib # here\n\
                    deb http://safe.test/updates trixie/updates main\n";
        let (main, security) = urls(None, None, &parse_one_line(text)).expect("both");
        assert_eq!((main.as_str(), security.as_str()), ("http://yes.test/debian/x", "http://safe.test/updates/x"));
    }

    #[test]
    fn stated_addresses_win_and_security_lies_beside() {
        let host = parse_deb822(DEB822);
        let (main, security) = urls(Some("https://mine.test/debian/"), None, &host).expect("both");
        assert_eq!((main.as_str(), security.as_str()), ("https://mine.test/debian/x", "https://mine.test/debian-security/x"));
        let (_, security) = urls(Some("https://mine.test/d"), None, &host).expect("both");
        assert_eq!(security, "http://two.test/secure/x");
        assert!(urls(Some("https://mine.test/d"), None, &[]).expect_err("unknown").to_string().contains("--security-mirror"));
        for bad in ["ftp://mine.test/d", "mine.test", "http://", "https:///", "http://mine test/", "file:///mine"] {
            assert!(matches!(urls(Some(bad), None, &host), Err(MirrorError::Address { .. })), "{bad}");
            let choice = MirrorChoice { main: None, security: Some(bad.into()) };
            assert!(choice.check().expect_err("refused").to_string().contains(bad), "{bad}");
        }
    }
}
