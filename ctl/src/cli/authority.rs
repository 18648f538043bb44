//! Whether `api.clientCa` can admit anybody: what the device's TLS will need, checked before a signature makes it final. The device itself
//! carries no reader of certificates in PID 1, and one that is no authority's would lock everybody out.

use machine_config::{MachineConfig, Problem, SemanticError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

const PATH: &str = "api.clientCa";

/// What is wrong with a text that is PEM; none: every certificate in it is an authority's.
pub(super) fn check_authorities(config: &MachineConfig) -> Option<SemanticError> {
    let certificates = CertificateDer::pem_slice_iter(config.api.client_ca.as_bytes());
    let reason = certificates.map(|der| der.map_or(Some(UNREADABLE), |der| refuse(&der))).find_map(|reason| reason)?;
    Some(SemanticError { path: PATH.to_owned(), problem: Problem::NotCertificates { reason } })
}

const UNREADABLE: &str = "it holds a certificate that cannot be read";

fn refuse(der: &[u8]) -> Option<&'static str> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Some(UNREADABLE) };
    if certificate.is_ca() {
        return None;
    }
    Some("it holds a certificate that is no authority's, perhaps your own; put `client-ca.pem` of the fleet's folder there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(pem: &str) -> Option<String> {
        let text = include_str!("../../../machine-config/examples/minimal.yaml");
        let mut config = machine_config::parse(text.as_bytes()).unwrap();
        if !pem.is_empty() {
            config.api.client_ca = pem.to_owned();
        }
        check_authorities(&config).map(|error| error.to_string())
    }

    #[test]
    fn an_authority_is_needed_and_neither_a_leaf_nor_nonsense() {
        assert_eq!(wrong(""), None, "the example's");
        let nonsense = wrong("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
        assert!(nonsense.starts_with("api.clientCa: ") && nonsense.contains("cannot be read"), "{nonsense}");
        let leaf = rcgen::generate_simple_self_signed(["kim".to_owned()]).unwrap().cert.pem();
        assert!(wrong(&leaf).unwrap().contains("no authority's"));
    }
}
