//! The operator's client certificate and its key, as read from PEM files, and what the certificate says for error messages.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use api::Role;

/// A client certificate with its key.
#[derive(Debug)]
pub struct ClientIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    claims: Claims,
}

/// What the certificate says about its bearer. Only for messages: the node judges for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The organisation, when it is a role.
    pub role: Option<Role>,
    /// The common name.
    pub name: String,
    /// Refused from here on.
    pub not_after: Timestamp,
}

/// Why a client certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no certificate, or one that cannot be read.
    #[error("cannot use {path}: it holds no PEM certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error("cannot use {path}: it holds no PEM private key")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

impl ClientIdentity {
    /// Reads the certificate from one file and the key from another, or from the same.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, IdentityError> {
        let cert_pem = read(cert)?;
        let key_pem = if cert == key { cert_pem.clone() } else { read(key)? };
        let chain = certificates(&cert_pem).ok_or_else(|| IdentityError::NoCertificate { path: cert.into() })?;
        let claims = Claims::read(&chain[0]).ok_or_else(|| IdentityError::NoCertificate { path: cert.into() })?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| IdentityError::NoKey { path: key.into() })?;
        Ok(Self { chain, key, claims })
    }

    /// What the certificate says about its bearer.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| IdentityError::Read { path: path.into(), source })
}

/// All certificates of a PEM text; none when there is none or one is damaged.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    if chain.is_empty() { None } else { Some(chain) }
}

impl Claims {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let organisation = subject.iter_organization().next().and_then(|value| value.as_str().ok());
        let name = subject.iter_common_name().next().and_then(|value| value.as_str().ok());
        Some(Self {
            role: organisation.and_then(Role::parse),
            name: name.unwrap_or_default().to_owned(),
            // The last days of 9999 are past the end of this calendar.
            not_after: Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX),
        })
    }
}
