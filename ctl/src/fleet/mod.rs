//! A fleet's folder: the key that signs its configurations, the CA that admits its operators, and what is public of both.
//!
//! The folder is made whole or not at all, and nothing in it is ever overwritten: a lost signing key means visiting every device.

mod cert;
mod error;
mod sealed;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use jiff::{SignedDuration, Timestamp};
use machine_config::types::DnsName;
use machine_config::{FleetTrust, PublicKey, SigningKey};
use rcgen::KeyPair;
use zeroize::Zeroizing;

use api::Role;

use crate::context::Context;
use crate::files::{self, Access};

pub use cert::ClientCertificate;
pub use error::FleetError;
pub use sealed::Passphrase;

/// Name and public signing key of the fleet; what `imager` stamps into images.
pub const TRUST_FILE: &str = "fleet.pub";
/// The signing key, PKCS#8 PEM; with `.age` appended when under a passphrase.
pub const SIGNING_KEY_FILE: &str = "signing.key";
/// Certificate of the client CA, PEM; goes into every configuration's `api.clientCa`.
pub const CLIENT_CA_FILE: &str = "client-ca.pem";
/// Key of the client CA, PKCS#8 PEM; with `.age` appended when under a passphrase.
pub const CLIENT_CA_KEY_FILE: &str = "client-ca.key";
/// Certificate and key of the first administrator, PEM.
pub const ADMIN_FILE: &str = "admin.pem";
/// The context file that uses them.
pub const CONTEXT_FILE: &str = "context.yaml";

/// Longest life of a client certificate.
pub const MAX_CERTIFICATE_DAYS: u32 = 36_500;

/// What a new fleet is made from.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The fleet's name, `metadata.fleet` of its configurations.
    pub name: DnsName,
    /// Seals the signing key and the CA's key; none: they lie open, readable by their owner only.
    pub passphrase: Option<Passphrase>,
    /// Common name of the first administrator.
    pub admin: String,
    /// Days the administrator's certificate lives.
    pub admin_days: u32,
    /// The present time.
    pub now: Timestamp,
}

impl InitOptions {
    /// A fleet without a passphrase, with an administrator named `admin` for a year.
    pub fn new(name: DnsName) -> Self {
        Self { name, passphrase: None, admin: "admin".into(), admin_days: 365, now: Timestamp::now() }
    }
}

/// An existing fleet folder. Its private keys are read when they are needed, not before.
#[derive(Debug, Clone)]
pub struct Fleet {
    dir: PathBuf,
    trust: FleetTrust,
}

impl Fleet {
    /// Opens the folder that [`init`] made.
    pub fn open(dir: &Path) -> Result<Self, FleetError> {
        let path = dir.join(TRUST_FILE);
        if !path.exists() {
            return Err(FleetError::NotAFleet { dir: dir.into() });
        }
        let trust = FleetTrust::from_json(&files::read(&path)?)
            .map_err(|_| FleetError::Damaged { path, what: "a fleet's public key" })?;
        Ok(Self { dir: dir.into(), trust })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The fleet's name.
    pub fn name(&self) -> &DnsName {
        &self.trust.name
    }

    /// What devices of this fleet trust.
    pub fn trust(&self) -> &FleetTrust {
        &self.trust
    }

    /// Where the context file of this fleet lies.
    pub fn context_file(&self) -> PathBuf {
        self.dir.join(CONTEXT_FILE)
    }

    /// Whether private keys need a passphrase.
    pub fn is_sealed(&self) -> bool {
        sealed::is_sealed(&self.dir, SIGNING_KEY_FILE) || sealed::is_sealed(&self.dir, CLIENT_CA_KEY_FILE)
    }

    /// Certificate of the client CA, PEM.
    pub fn client_ca(&self) -> Result<String, FleetError> {
        Ok(files::read_text(&self.dir.join(CLIENT_CA_FILE))?)
    }

    /// The key that signs configurations. A key that `fleet.pub` does not name is refused: devices would refuse its signatures.
    pub fn signing_key(&self, passphrase: Option<&Passphrase>) -> Result<SigningKey, FleetError> {
        let pem = sealed::load(&self.dir, SIGNING_KEY_FILE, passphrase)?;
        let key = SigningKey::from_pkcs8_pem(&pem)
            .map_err(|_| FleetError::Damaged { path: self.dir.join(SIGNING_KEY_FILE), what: "an Ed25519 private key" })?;
        if !self.trust.keys.iter().any(|known| *known.verifying_key() == key.verifying_key()) {
            return Err(FleetError::ForeignKey { dir: self.dir.clone() });
        }
        Ok(key)
    }

    /// A new client key and its certificate, one PEM text.
    pub fn issue(&self, request: &ClientCertificate, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, FleetError> {
        check_name(&request.name)?;
        let pem = sealed::load(&self.dir, CLIENT_CA_KEY_FILE, passphrase)?;
        let key = KeyPair::from_pem(&pem)
            .map_err(|_| FleetError::Damaged { path: self.dir.join(CLIENT_CA_KEY_FILE), what: "a private key" })?;
        Ok(Zeroizing::new(cert::issue(&self.trust.name, key, request)?))
    }
}

/// Makes a fleet folder. `dir` must not exist, or be empty.
pub fn init(dir: &Path, options: &InitOptions) -> Result<Fleet, FleetError> {
    let admin =
        ClientCertificate { role: Role::Admin, name: options.admin.clone(), not_after: expiry(options.now, options.admin_days)? };
    check_name(&admin.name)?;
    check_vacant(dir)?;
    let failed = |source| FleetError::MakeFolder { dir: dir.into(), source };
    let parent = files::folder_of(dir);
    fs::create_dir_all(parent).map_err(failed)?;
    // Beside its final place, so that the folder appears whole by one rename.
    let draft = tempfile::Builder::new().prefix(".skerry-fleet-").tempdir_in(parent).map_err(failed)?;
    fill(draft.path(), options, &admin)?;
    fs::set_permissions(draft.path(), Permissions::from_mode(0o700)).map_err(failed)?;
    fs::rename(draft.path(), dir).map_err(failed)?;
    let _renamed = draft.keep();
    Fleet::open(dir)
}

/// Whether [`init`] may make a fleet there: asked before a person is asked for a passphrase.
pub fn check_vacant(dir: &Path) -> Result<(), FleetError> {
    let failed = |source| FleetError::MakeFolder { dir: dir.into(), source };
    if dir.exists() && fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(FleetError::Occupied { dir: dir.into() });
    }
    Ok(())
}

fn fill(dir: &Path, options: &InitOptions, admin: &ClientCertificate) -> Result<(), FleetError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(FleetError::Random)?;
    let signing_key = SigningKey::from_bytes(&secret);
    let passphrase = options.passphrase.as_ref();
    sealed::store(dir, SIGNING_KEY_FILE, &signing_key_pem(&signing_key), passphrase)?;
    let trust = FleetTrust {
        name: options.name.clone(),
        keys: vec![PublicKey::try_from(signing_key.verifying_key()).expect("a key made from a secret is strong")],
    };
    files::write_new(&dir.join(TRUST_FILE), trust.to_json().as_bytes(), Access::Public)?;

    let ca_key = cert::new_key()?;
    sealed::store(dir, CLIENT_CA_KEY_FILE, &Zeroizing::new(ca_key.serialize_pem()), passphrase)?;
    let ca = cert::ca_certificate(&options.name, &ca_key)?;
    files::write_new(&dir.join(CLIENT_CA_FILE), ca.as_bytes(), Access::Public)?;

    let fleet = Fleet { dir: dir.into(), trust };
    let admin = fleet.issue(admin, passphrase)?;
    files::write_new(&dir.join(ADMIN_FILE), admin.as_bytes(), Access::Secret)?;
    let context = Context::for_fleet(&options.name, ADMIN_FILE);
    files::write_new(&dir.join(CONTEXT_FILE), context.to_yaml().as_bytes(), Access::Public)?;
    Ok(())
}

/// PKCS#8 version 1, without the public key: the form that every tool reads.
fn signing_key_pem(key: &SigningKey) -> Zeroizing<String> {
    let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    pair.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always has a PKCS#8 form")
}

/// The moment a certificate made now for so many days ends.
pub fn expiry(now: Timestamp, days: u32) -> Result<Timestamp, FleetError> {
    if !(1..=MAX_CERTIFICATE_DAYS).contains(&days) {
        return Err(FleetError::CertificateRequest(format!("{days} is not a number of days it can live")));
    }
    now.checked_add(SignedDuration::from_hours(24 * i64::from(days)))
        .map_err(|_| FleetError::CertificateRequest(format!("{days} days from now is past the calendar's end")))
}

fn check_name(name: &str) -> Result<(), FleetError> {
    if name.trim().is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(FleetError::CertificateRequest(format!("{name:?} is not a name of 1 to 64 printable characters")));
    }
    Ok(())
}
