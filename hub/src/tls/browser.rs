//! What browsers see when nobody gave the hub a web certificate. They take no Ed25519 certificate at all, so that the hub's own would lock them
//! out; this one is self-signed with P-256, made once and kept, so that a person who let it pass is not asked again after each restart.
//!
//! It proves nothing and nobody pins it. Whoever offers Ed25519 (`skerryctl`, most programs) sees the hub's own certificate instead.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};

use super::config::{TlsError, WebCertificate};

/// Certificate and key, in the hub's folder.
const FILE: &str = "browser.pem";
/// The name in the certificate.
const NAME: &str = "skerry-hub";

/// Why there is no such certificate.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// It cannot be made.
    #[error("cannot make a certificate for browsers")]
    Make(#[from] rcgen::Error),
    /// It cannot be written.
    #[error("cannot write the certificate for browsers {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written there.
    #[error("cannot use the certificate for browsers; remove the file, and the hub makes another")]
    Read(#[from] TlsError),
}

/// The certificate in this folder, made if it is not there. `host` is what people type to reach the hub.
///
/// # Errors
/// See [`BrowserError`].
pub fn browser_certificate(folder: &Path, host: Option<&str>) -> Result<WebCertificate, BrowserError> {
    let path = folder.join(FILE);
    if !path.exists() {
        write(folder, &path, &make(host)?).map_err(|source| BrowserError::Write { path: path.clone(), source })?;
    }
    Ok(WebCertificate::read(&path, &path)?)
}

fn make(host: Option<&str>) -> Result<String, rcgen::Error> {
    let names = [Some(NAME), host].into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(9999, 12, 31));
    Ok(params.self_signed(&pair)?.pem() + &pair.serialize_pem())
}

/// Whole or not at all; when another process was first, its file stays.
fn write(folder: &Path, path: &Path, pem: &str) -> io::Result<()> {
    let partial = folder.join(format!(".{FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&partial, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&partial)?;
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_for_the_owner_alone_and_a_broken_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        browser_certificate(folder.path(), Some("hub.example")).unwrap();
        let path = folder.path().join(FILE);
        let first = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        browser_certificate(folder.path(), None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        fs::write(&path, "x").unwrap();
        assert!(browser_certificate(folder.path(), None).unwrap_err().to_string().contains("remove the file"));
    }
}
