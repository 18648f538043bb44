//! The client CA and the certificates it issues. Pure but for the randomness of new keys: the caller gives the time.

use jiff::Timestamp;
use machine_config::types::DnsName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};

use api::Role;

/// What a client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Organisation: what its bearer may do.
    pub role: Role,
    /// Common name: who its bearer is; shows in the node's log.
    pub name: String,
    /// Refused from here on.
    pub not_after: Timestamp,
}

/// A new Ed25519 key.
pub(super) fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ED25519)
}

/// The CA's own certificate, PEM.
pub(super) fn ca_certificate(fleet: &DnsName, key: &KeyPair) -> Result<String, rcgen::Error> {
    Ok(ca_params(fleet).self_signed(key)?.pem())
}

/// A new key and a certificate for it: one PEM text, certificate first.
pub(super) fn issue(fleet: &DnsName, ca_key: KeyPair, request: &ClientCertificate) -> Result<String, rcgen::Error> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(request.role.as_str(), &request.name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = u64::try_from(request.not_after.as_second()).unwrap_or(0);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds);
    let certificate = params.signed_by(&key, &Issuer::new(ca_params(fleet), ca_key))?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

/// The CA's parameters follow from the fleet's name alone, so that issuing needs no parsing of its certificate.
///
/// Its years are unbounded, and every certificate begins in 1970: a device without a clock of its own starts at the time its
/// image was built, and must not take its operator for someone from the future. A CA is replaced by configuration, not by date.
fn ca_params(fleet: &DnsName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(fleet.as_str(), &format!("{fleet} client CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params
}

fn distinguished_name(organisation: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::CommonName, common_name);
    name
}
