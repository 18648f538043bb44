//! Private keys at rest: PKCS#8 PEM as it is, or the same bytes in an age file under a passphrase.
//!
//! Any `age` tool opens a sealed file, so a fleet does not depend on this program. Nothing is cached: a passphrase lives as
//! long as the command.

use std::fmt;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::files::{self, Access};

use super::FleetError;

/// Largest scrypt work factor that is tried (about 4 GiB of memory); a file that asks for more is damaged or hostile.
const MAX_WORK_FACTOR: u8 = 22;

/// What opens a sealed key file. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Takes the text as it is; an empty one protects nothing and is refused.
    pub fn new(text: String) -> Option<Self> {
        if text.is_empty() { None } else { Some(Self(SecretString::from(text))) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(********)")
    }
}

/// Writes `NAME` (plain) or `NAME.age` (sealed) into `dir`.
pub(super) fn store(dir: &Path, name: &str, pem: &str, passphrase: Option<&Passphrase>) -> Result<(), FleetError> {
    match passphrase {
        None => files::write_new(&dir.join(name), pem.as_bytes(), Access::Secret)?,
        Some(passphrase) => {
            let path = sealed_path(dir, name);
            let recipient = age::scrypt::Recipient::new(passphrase.0.clone());
            let sealed = age::encrypt(&recipient, pem.as_bytes())
                .map_err(|source| FleetError::Seal { path: path.clone(), source: Box::new(source) })?;
            files::write_new(&path, &sealed, Access::Secret)?;
        }
    }
    Ok(())
}

/// Reads what [`store`] wrote.
pub(super) fn load(dir: &Path, name: &str, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, FleetError> {
    let (path, open) = (sealed_path(dir, name), dir.join(name));
    if !path.exists() {
        return match open.exists() {
            true => Ok(Zeroizing::new(files::read_text(&open)?)),
            false => Err(FleetError::KeyAbsent { path: open }),
        };
    }
    let Some(passphrase) = passphrase else {
        return Err(FleetError::PassphraseNeeded { path });
    };
    let sealed = files::read(&path)?;
    let mut identity = age::scrypt::Identity::new(passphrase.0.clone());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let plain = age::decrypt(&identity, &sealed).map_err(|source| unseal_error(&path, source))?;
    let plain = Zeroizing::new(plain);
    let text = std::str::from_utf8(&plain).map_err(|_| FleetError::Damaged { path, what: "a PEM private key" })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether [`load`] will ask for a passphrase.
pub(super) fn is_sealed(dir: &Path, name: &str) -> bool {
    sealed_path(dir, name).exists()
}

fn sealed_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.age"))
}

fn unseal_error(path: &Path, source: age::DecryptError) -> FleetError {
    match source {
        // scrypt: a wrong passphrase and a changed header look the same.
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed | age::DecryptError::NoMatchingKeys => {
            FleetError::WrongPassphrase { path: path.into() }
        }
        other => FleetError::Unseal { path: path.into(), source: Box::new(other) },
    }
}
