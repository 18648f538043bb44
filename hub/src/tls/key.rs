//! The hub's own key: made once, never overwritten, and what devices know the hub by.
//!
//! Whoever has it can pose as the hub, which lets him delay devices and read what they report. It signs nothing that a device obeys.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519, PublicKeyData as _, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The key's file in the data folder.
const FILE: &str = "hub.key";
/// Longer than any PEM of an Ed25519 key.
const MAX_FILE_BYTES: u64 = 4096;
/// The name in the certificate. It proves nothing, the key does.
const NAME: &str = "skerry-hub";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum HubKeyError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the hub's key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the hub's key {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("cannot use the hub's key {}: others may read it; run `chmod 600` on it, or make a new hub if it leaked", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("cannot use {} as the hub's key: it is no Ed25519 key in PEM; restore it from your backup, devices know the hub by it", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// The system gives no random bytes.
    #[error("cannot make the hub's key: the system gives no random bytes")]
    Random {
        /// Why.
        source: getrandom::Error,
    },
    /// No key or certificate can be made.
    #[error("cannot make the hub's key and certificate")]
    Make(#[source] rcgen::Error),
}

/// The key and its self-signed certificate.
pub struct HubKey {
    pair: KeyPair,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for HubKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubKey").field("pin", &self.pin_text()).finish_non_exhaustive()
    }
}

impl HubKey {
    /// The key of this data folder; both are made when they are not there yet. Two programs that start at once end up with the same key.
    pub fn open(folder: &Path) -> Result<Self, HubKeyError> {
        let path = folder.join(FILE);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| HubKeyError::Folder { path: folder.to_owned(), source })?;
        if let Some(key) = Self::read(&path)? {
            return Ok(key);
        }
        make(folder, &path)?;
        let vanished = || HubKeyError::Read { path: path.clone(), source: ErrorKind::NotFound.into() };
        Self::read(&path)?.ok_or_else(vanished)
    }

    /// The key of this data folder, which must be there.
    pub fn load(folder: &Path) -> Result<Self, HubKeyError> {
        let path = folder.join(FILE);
        Self::read(&path)?.ok_or(HubKeyError::Read { path, source: ErrorKind::NotFound.into() })
    }

    fn read(path: &Path) -> Result<Option<Self>, HubKeyError> {
        let failed = |source| HubKeyError::Read { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(HubKeyError::Exposed { path: path.to_owned() });
        }
        let mut pem = Zeroizing::new(String::new());
        file.take(MAX_FILE_BYTES).read_to_string(&mut pem).map_err(failed)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_ED25519)
            .map_err(|source| HubKeyError::Form { path: path.to_owned(), source })?;
        let certificate = self_signed(&pair).map_err(HubKeyError::Make)?;
        Ok(Some(Self { pair, certificate }))
    }

    /// What devices pin: SHA-256 of the key's SubjectPublicKeyInfo.
    pub fn pin(&self) -> [u8; 32] {
        api::hub::pin(&self.pair.subject_public_key_info())
    }

    /// The pin as SEED and configurations have it: 64 hexadecimal digits.
    pub fn pin_text(&self) -> String {
        hex::encode(self.pin())
    }

    /// Bytes that only processes with this key can make; `purpose` keeps one use apart from every other, and none of them tells the key.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let key = Zeroizing::new(self.pair.serialize_der());
        Zeroizing::new(Sha256::new().chain_update(purpose).chain_update([0]).chain_update(key.as_slice()).finalize().into())
    }

    /// The self-signed certificate. It runs from 1970 to 9999: trust is by key, and a device may have no clock.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key, for TLS.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}

fn self_signed(pair: &KeyPair) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    Ok(params.self_signed(pair)?.der().clone())
}

/// Writes a new key beside its place and links it there, which fails when another was quicker: its key counts then.
fn make(folder: &Path, path: &Path) -> Result<(), HubKeyError> {
    let pem = Zeroizing::new(KeyPair::generate_for(&PKCS_ED25519).map_err(HubKeyError::Make)?.serialize_pem());
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|source| HubKeyError::Random { source })?;
    let beside = folder.join(format!(".{FILE}.{}", hex::encode(random)));
    let written = write_beside(&beside, pem.as_bytes()).and_then(|()| match fs::hard_link(&beside, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    });
    let removed = fs::remove_file(&beside);
    written.and(removed).map_err(|source| HubKeyError::Write { path: path.to_owned(), source })
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let made = HubKey::open(&data).unwrap();
        assert_eq!(HubKey::open(&data).unwrap().pin(), made.pin(), "a second start has the same key");
        assert_eq!(HubKey::load(&data).unwrap().certificate(), made.certificate(), "and shows the same certificate");
        assert_eq!(fs::metadata(data.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_derived_from_the_key_differs_by_purpose_and_key() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| HubKey::open(folder.path()).unwrap());
        let again = HubKey::load(folders[0].path()).unwrap();
        assert_eq!(one.derive("a"), again.derive("a"), "each process makes the same");
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), other.derive("a"));
    }

    #[test]
    fn the_pin_is_that_of_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let key = HubKey::open(folder.path()).unwrap();
        let (_, certificate) = X509Certificate::from_der(key.certificate()).unwrap();
        assert_eq!(api::hub::pin(certificate.public_key().raw), key.pin());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        HubKey::open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(HubKey::open(folder.path()), Err(HubKeyError::Exposed { .. })));
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(HubKey::open(folder.path()), Err(HubKeyError::Form { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"no key");
        assert!(matches!(HubKey::load(&folder.path().join("elsewhere")), Err(HubKeyError::Read { .. })));
    }

    #[test]
    fn programs_that_start_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let pins: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| HubKey::open(folder.path()).unwrap().pin())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(pins.windows(2).all(|two| two[0] == two[1]), "{pins:?}");
    }
}
