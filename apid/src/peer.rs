//! Who is calling: read from the client certificate, which the TLS handshake has already verified.

use std::time::{Duration, SystemTime};

use api::Role;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The caller of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// No client certificate was shown.
    Anonymous,
    /// A certificate signed by one of the configured CAs.
    Certified {
        /// Subject common name; for the audit trail.
        name: String,
        /// The role its organisation names; none when it names no role, or more than one organisation.
        role: Option<Role>,
        /// End of its validity.
        expires: SystemTime,
    },
}

impl Peer {
    /// Reads the caller from the leaf certificate (DER) of a verified chain.
    ///
    /// A certificate that cannot be read grants nothing: it becomes a caller without a role.
    pub fn from_certificate(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self::Certified { name: "unreadable certificate".into(), role: None, expires: SystemTime::UNIX_EPOCH };
        };
        Self::Certified { name: common_name(&certificate), role: role(&certificate), expires: expires(&certificate) }
    }

    /// The name init records beside what the caller did.
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Certified { name, .. } => name,
        }
    }

    /// The role's word for init, `anonymous` for none.
    pub fn role_word(&self) -> &'static str {
        match self {
            Self::Anonymous | Self::Certified { role: None, .. } => "anonymous",
            Self::Certified { role: Some(role), .. } => role.as_str(),
        }
    }
}

/// The common name, reduced to what may stand in a header and a log line.
fn common_name(certificate: &X509Certificate<'_>) -> String {
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or("unnamed");
    name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(64).collect()
}

/// The role, when the subject has exactly one organisation and that is a role's word.
fn role(certificate: &X509Certificate<'_>) -> Option<Role> {
    let mut organisations = certificate.subject().iter_organization();
    let only = organisations.next()?;
    match organisations.next() {
        None => Role::parse(only.as_str().ok()?),
        Some(_) => None,
    }
}

fn expires(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(organisations: &[&str], name: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        for organisation in organisations {
            params.distinguished_name.push(DnType::OrganizationName, *organisation);
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn role_of(organisations: &[&str]) -> Option<Role> {
        match Peer::from_certificate(&certificate(organisations, "kim")) {
            Peer::Certified { role, .. } => role,
            Peer::Anonymous => panic!("a certificate is never anonymous"),
        }
    }

    #[test]
    fn organisation_is_the_role() {
        assert_eq!(role_of(&["admin"]), Some(Role::Admin));
        assert_eq!(role_of(&["operator"]), Some(Role::Operator));
        assert_eq!(role_of(&["reader"]), Some(Role::Reader));
    }

    #[test]
    fn other_organisations_are_no_role() {
        assert_eq!(role_of(&[]), None);
        assert_eq!(role_of(&["Admin"]), None);
        assert_eq!(role_of(&["admin "]), None);
    }

    #[test]
    fn names_cannot_break_out_of_a_header_line() {
        let peer = Peer::from_certificate(&certificate(&["reader"], "kim\r\nx-skerry-role: admin"));
        assert_eq!(peer.name(), "kim??x-skerry-role: admin");
        assert_eq!(peer.role_word(), "reader");
    }

    #[test]
    fn unreadable_certificate_grants_nothing() {
        let peer = Peer::from_certificate(b"junk");
        assert_eq!(peer.role_word(), "anonymous");
        assert!(matches!(peer, Peer::Certified { role: None, expires, .. } if expires == SystemTime::UNIX_EPOCH));
    }
}
