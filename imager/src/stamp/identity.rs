//! Device keys that somebody made before the device: read from a file that is its owner's only. Makes none and writes none.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use machine_config::SigningKey;
use zeroize::Zeroizing;

/// Bytes of a key without a form.
const RAW_BYTES: usize = 32;
/// A key in a form has some hundred bytes; what is larger is something else.
const MOST_BYTES: u64 = 4096;
/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// Why a device's key is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("cannot read the device's key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it, and whoever has it is the device.
    #[error("cannot use the device's key {}: others may read it (mode {mode:o}); say `chmod 600` and ask who did", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is something else.
    #[error("cannot use {} as a device's key: it must be an Ed25519 key, 32 bytes as they are or PKCS#8 PEM", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// The key in a file.
///
/// # Errors
/// See [`IdentityError`].
pub fn load(path: &Path) -> Result<SigningKey, IdentityError> {
    let failed = |source| IdentityError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(IdentityError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES as usize));
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).ok_or_else(|| IdentityError::Form { path: path.to_owned() })
}

fn parse(bytes: &[u8]) -> Option<SigningKey> {
    if let Ok(raw) = <&[u8; RAW_BYTES]>::try_from(bytes) {
        return Some(SigningKey::from_bytes(raw));
    }
    SigningKey::from_pkcs8_pem(std::str::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::stamp::station;
    use crate::stamp::testing::key;

    #[test]
    fn a_key_is_read_in_both_forms_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(path(name), bytes).expect("written");
            std::fs::set_permissions(path(name), Permissions::from_mode(0o600)).expect("set");
        };
        write("raw", &[7; 32]);
        assert_eq!(load(&path("raw")).expect("read"), key(7));
        station::make(&path("pem")).expect("made");
        assert_eq!(load(&path("pem")).expect("read"), station::load(&path("pem")).expect("read"));
        for (name, bytes) in [("short", [7; 31].as_slice()), ("long", &[7; 33]), ("empty", b""), ("large", &[b'a'; 9000])] {
            write(name, bytes);
            let error = load(&path(name)).expect_err("refused").to_string();
            assert!(error.contains(name) && error.contains("32 bytes"), "{error}");
        }
        assert!(load(&path("none")).expect_err("missing").to_string().contains("none"));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("key");
        std::fs::write(&path, [7; 32]).expect("written");
        for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o620, true)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            assert_eq!(matches!(load(&path), Err(IdentityError::Open { mode: found, .. }) if found == mode), refused, "{mode:o}");
        }
    }
}
