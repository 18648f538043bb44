//! The station's key: which bench of which warehouse stamped an image. It signs manifests and nothing a device obeys.

use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use machine_config::{PublicKey, SigningKey};
use zeroize::Zeroizing;

/// The public key lies beside the key, under its name and this.
const PUBLIC_SUFFIX: &str = ".pub";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum StationKeyError {
    /// A key is never overwritten.
    #[error("cannot make {}: it is there already; manifests it signed need it, so choose another name", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read the station's key {}: make one with `imager station-key FILE`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("cannot use {} as {expected}: `imager station-key` makes both", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// The system gives no random bytes.
    #[error("cannot make a key: the system gives no random bytes")]
    Random(getrandom::Error),
}

/// Makes a key at `path`, readable by its owner only, and its public half beside it, in a file whose name ends in `.pub`. Neither is overwritten.
pub fn make(path: &Path) -> Result<(PublicKey, PathBuf), StationKeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(StationKeyError::Random)?;
    let key = SigningKey::from_bytes(&secret);
    let public = PublicKey::try_from(key.verifying_key()).expect("a key made from a secret is strong");
    let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let pem = pair.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always has a PKCS#8 form");
    let beside = public_path(path);
    write_new(path, 0o600, pem.as_bytes())?;
    if let Err(error) = write_new(&beside, 0o644, format!("{public}\n").as_bytes()) {
        std::fs::remove_file(path).ok(); // ours of a moment ago, and no use without the other
        return Err(error);
    }
    Ok((public, beside))
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PUBLIC_SUFFIX);
    name.into()
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), StationKeyError> {
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::AlreadyExists => StationKeyError::Occupied { path: path.to_owned() },
        _ => StationKeyError::Write { path: path.to_owned(), source },
    };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<Zeroizing<String>, StationKeyError> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|source| StationKeyError::Read { path: path.to_owned(), source })
}

/// The key in a file that [`make`] made.
pub fn load(path: &Path) -> Result<SigningKey, StationKeyError> {
    let form = |_| StationKeyError::Form { path: path.to_owned(), expected: "a station's key" };
    SigningKey::from_pkcs8_pem(&read(path)?).map_err(form)
}

/// The public key in a file that [`make`] made.
pub fn load_public(path: &Path) -> Result<PublicKey, StationKeyError> {
    let form = |_| StationKeyError::Form { path: path.to_owned(), expected: "a station's public key" };
    read(path)?.trim_end().parse().map_err(form)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_only_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("station");
        let (public, beside) = make(&path).expect("made");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&beside)), (0o600, 0o644));
        assert_eq!(load(&path).expect("loaded").verifying_key(), *public.verifying_key());
        assert_eq!(load_public(&beside).expect("loaded"), public);
        assert!(matches!(make(&path), Err(StationKeyError::Occupied { .. })));
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(make(&path), Err(StationKeyError::Occupied { .. })), "the public half is another's");
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_key_says_so() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (path, beside) = (folder.path().join("station"), folder.path().join("station.pub"));
        make(&path).expect("made");
        assert!(load(&beside).expect_err("public").to_string().contains("as a station's key"));
        assert!(load_public(&path).expect_err("secret").to_string().contains("as a station's public key"));
        let missing = load(&folder.path().join("none")).expect_err("missing").to_string();
        assert!(missing.contains("none: make one with `imager station-key "), "{missing}");
        assert!(make(Path::new("/nowhere/key")).expect_err("no folder").to_string().contains("/nowhere/key"));
    }
}
