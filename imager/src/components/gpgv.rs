//! The one wrapper around `gpgv`, which checks the OpenPGP signature of an archive's InRelease file.
//!
//! Signatures are checked only when locking: a build trusts the hashes in the lock. What it hands back is the text `gpgv`
//! found signed, never the file as it came: whatever stands around the signed part is dropped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tool. By its path, so that nobody's search path decides whom to believe.
const GPGV: &str = "/usr/bin/gpgv";

/// Where Debian's keyring packages put archive keys.
const KEYRING_FOLDER: &str = "/usr/share/keyrings";

/// Keyrings with Debian's archive keys; the second name is what newer releases use.
const KEYRINGS: [&str; 2] = ["debian-archive-keyring.gpg", "debian-archive-keyring.pgp"];

/// Why a Release file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The tool is not there.
    #[error("cannot run {GPGV}: install it with `apt-get install gpgv`")]
    Tool {
        /// Why.
        source: std::io::Error,
    },
    /// No keyring is there.
    #[error("cannot find Debian's archive keys in {}: install them with `apt-get install debian-archive-keyring`", folder.display())]
    NoKeyring {
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// The signature is wrong, or by nobody known.
    #[error("cannot trust {what}: {reason}")]
    Untrusted {
        /// The file, by suite.
        what: String,
        /// What gpgv said.
        reason: String,
    },
    /// Scratch files cannot be written or read.
    #[error("cannot hand {what} to gpgv")]
    Scratch {
        /// The file, by suite.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The signed text of a clear-signed file, if one of Debian's archive keys signed it and no signature is bad. `what` names it in errors.
pub fn verify(what: &str, signed: &[u8]) -> Result<String, SignatureError> {
    let keyrings = keyrings(Path::new(KEYRING_FOLDER))?;
    let scratch = |source| SignatureError::Scratch { what: what.into(), source };
    let folder = tempfile::tempdir().map_err(scratch)?;
    let (input, output) = (folder.path().join("InRelease"), folder.path().join("Release"));
    std::fs::write(&input, signed).map_err(scratch)?;
    let run = Command::new(GPGV)
        .args(arguments(&keyrings, &input, &output))
        .env("LC_ALL", "C")
        .output()
        .map_err(|source| SignatureError::Tool { source })?;
    judge(&String::from_utf8_lossy(&run.stdout)).map_err(|reason| SignatureError::Untrusted { what: what.into(), reason })?;
    let text = std::fs::read(&output).map_err(scratch)?;
    String::from_utf8(text).map_err(|_| SignatureError::Untrusted { what: what.into(), reason: "it is not UTF-8".into() })
}

fn keyrings(folder: &Path) -> Result<Vec<PathBuf>, SignatureError> {
    let found: Vec<_> = KEYRINGS.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect();
    if found.is_empty() { Err(SignatureError::NoKeyring { folder: folder.into() }) } else { Ok(found) }
}

fn arguments(keyrings: &[PathBuf], input: &Path, output: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--status-fd".into(), "1".into(), "--output".into(), output.into()];
    for keyring in keyrings {
        arguments.extend(["--keyring".into(), keyring.into()]);
    }
    arguments.push(input.into());
    arguments
}

/// Reads gpgv's status lines. Archives are signed by several keys and older keyrings lack the newest, so an unknown key is
/// tolerated beside a valid one; a bad signature, or an expired or revoked key, is not.
fn judge(status: &str) -> Result<(), String> {
    let lines: Vec<_> = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")).collect();
    let keyword = |wanted: &str| lines.iter().find(|line| line.split(' ').next() == Some(wanted));
    for (word, meaning) in [
        ("BADSIG", "its signature does not match its content"),
        ("EXPSIG", "its signature has expired"),
        ("EXPKEYSIG", "it is signed by an expired key"),
        ("REVKEYSIG", "it is signed by a revoked key"),
    ] {
        if let Some(line) = keyword(word) {
            return Err(format!("{meaning} ({line})"));
        }
    }
    if keyword("VALIDSIG").is_some() {
        return Ok(());
    }
    match keyword("NO_PUBKEY") {
        Some(_) => Err("none of Debian's archive keys on this host signed it; update debian-archive-keyring".into()),
        None => Err("it carries no OpenPGP signature".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_list() {
        let rings = [PathBuf::from("/k/a.gpg"), PathBuf::from("/k/b.pgp")];
        let words = arguments(&rings, Path::new("/t/InRelease"), Path::new("/t/Release"));
        assert_eq!(
            words.join(std::ffi::OsStr::new(" ")),
            "--status-fd 1 --output /t/Release --keyring /k/a.gpg --keyring /k/b.pgp /t/InRelease"
        );
    }

    #[test]
    fn only_a_valid_signature_and_no_bad_one_is_believed() {
        let valid = "[GNUPG:] VALIDSIG 41587F7DB8C774BC 2026-09-12\n";
        for (status, believed) in [
            (valid.to_owned(), true),
            (format!("[GNUPG:] NO_PUBKEY 762F67A0B2C39DE4\n{valid}"), true),
            (format!("{valid}[GNUPG:] BADSIG 6ED0E7B82643E131 Somebody\n"), false),
            (format!("{valid}[GNUPG:] EXPKEYSIG 6ED0E7B82643E131 Somebody\n"), false),
            ("[GNUPG:] NO_PUBKEY 762F67A0B2C39DE4\n".to_owned(), false),
            ("[GNUPG:] NODATA 1\n".to_owned(), false),
            ("VALIDSIG pretended by other output\n".to_owned(), false),
        ] {
            assert_eq!(judge(&status).is_ok(), believed, "{status}");
        }
    }

    #[test]
    fn missing_keyrings_say_what_to_install() {
        let folder = tempfile::tempdir().expect("folder");
        let error = keyrings(folder.path()).expect_err("none").to_string();
        assert!(error.contains("debian-archive-keyring"), "{error}");
    }
}
