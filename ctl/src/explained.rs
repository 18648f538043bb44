//! What the person at the keyboard is told of a node that was not reached, or did not do as asked: exit codes and hints for the client's errors.

use client::trust::TrustError;
use client::{CallError, CertificateProblem, ConnectError, IdentityError, Place};

use crate::failure::{Exit, Explain};

impl Explain for IdentityError {
    fn exit(&self) -> Exit {
        Exit::Permission
    }

    fn hint(&self) -> Option<String> {
        Some("make a certificate with `skerryctl fleet cert`, and name its file with --cert or `cert:` in the context".into())
    }
}

impl Explain for ConnectError {
    fn exit(&self) -> Exit {
        match self {
            Self::Resolve { .. }
            | Self::PortClosed { .. }
            | Self::Tcp { .. }
            | Self::Timeout { .. }
            | Self::NotTls13 { .. }
            | Self::Tls { .. }
            | Self::Http2 { .. } => Exit::Unreachable,
            Self::OwnCertificate { .. } => Exit::Permission,
            Self::Trust { .. } => Exit::Identity,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Resolve { .. } => "check the name, or give the address that the node's console shows".into(),
            Self::PortClosed { .. } => {
                format!(
                    "the machine is up, perhaps still booting; the API's port is {} unless api.port says otherwise",
                    api::DEFAULT_PORT
                )
            }
            Self::Timeout { address: Place::Hub { .. }, .. } => {
                "the hub holds the device's connection, yet the device does not answer in it; --timeout SECONDS waits longer"
                    .into()
            }
            Self::Tcp { .. } | Self::Timeout { .. } => {
                "check power, cable and address (the console shows it); --timeout SECONDS waits longer".into()
            }
            Self::NotTls13 { address: Place::Hub { .. } }
            | Self::Tls { address: Place::Hub { .. }, .. }
            | Self::Http2 { address: Place::Hub { .. }, .. } => {
                "something between here and the device changes or ends the connection; try again, and look into the hub's log"
                    .into()
            }
            Self::NotTls13 { .. } | Self::Tls { .. } | Self::Http2 { .. } => {
                format!("check that the address is a Skerry node's and the port its API's ({} by default)", api::DEFAULT_PORT)
            }
            Self::OwnCertificate { .. } => {
                "the key does not belong to the certificate; make a new pair with `skerryctl fleet cert`".into()
            }
            Self::Trust { source, .. } => trust_hint(source),
        })
    }
}

fn trust_hint(error: &TrustError) -> String {
    match error {
        TrustError::NotADevice(_) => {
            format!("check that the address is a Skerry node's and the port its API's ({} by default)", api::DEFAULT_PORT)
        }
        TrustError::Unproven => "something between here and the node answers in its place; do not send it anything".into(),
        TrustError::Mismatch { found, .. } => format!(
            "the address belongs to another device now, the disk was wiped, or someone answers in its place; if the device's \
             console or label shows {found}, use --device {found} and correct `nodes:` of the context file"
        ),
        TrustError::Unknown { found } => format!(
            "compare the id with the device's console or label, then use --device {found}, \
             or --trust-first-use to remember it as it is"
        ),
    }
}

impl Explain for CallError {
    fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Certificate { .. } | Self::Role { .. } => Exit::Permission,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Maintenance { .. } | Self::NotNow { .. } => Exit::NotNow,
            Self::Timeout { .. } | Self::Lost { .. } => Exit::Unreachable,
            Self::Unknown { .. } | Self::Failed { .. } => Exit::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { code, .. } => refusal_hint(code).map(str::to_owned),
            Self::Certificate { problem, .. } => Some(certificate_hint(problem).into()),
            Self::Role { needs: Some(role), .. } => {
                Some(format!("use a certificate of role {role}: `skerryctl fleet cert --role {role}` makes one"))
            }
            Self::Role { needs: None, .. } => Some("make a certificate with a role: `skerryctl fleet cert`".into()),
            Self::Maintenance { .. } => Some("it has no configuration yet; apply a signed one: `skerryctl apply -f FILE`".into()),
            Self::Timeout { .. } => Some("try again with a longer --timeout SECONDS".into()),
            Self::Lost { .. } => Some("check that the node is up, then try again".into()),
            Self::Unknown { .. } => Some("its Skerry is older than this skerryctl; see `skerryctl version`".into()),
            Self::NotFound { .. } | Self::NotNow { .. } | Self::Failed { .. } => None,
        }
    }

    fn refusal_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

fn certificate_hint(problem: &CertificateProblem) -> &'static str {
    match problem {
        CertificateProblem::Missing => "name a context with --context (a fleet folder has one), or a certificate with --cert",
        CertificateProblem::Expired { .. } => {
            "make a new one with `skerryctl fleet cert`; if it is still valid, the node's clock is wrong"
        }
        CertificateProblem::WrongCa { .. } => "use a certificate of the fleet whose CA stands in the node's api.clientCa",
        CertificateProblem::Bad { .. } => "make a new one with `skerryctl fleet cert`",
    }
}

/// The command that shows more, where the node's own words cannot name one.
fn refusal_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "size" | "utf8" | "envelope" | "schema" | "semantics" => "`skerryctl config validate FILE` shows the place",
        "target" => "`skerryctl get hardware` shows serial number and MAC addresses, `skerryctl status` the device id",
        "generation-older" | "generation-conflict" => "`skerryctl status` shows the generation in force",
        "key-unknown" | "signature" => "`skerryctl config verify FILE --fleet DIR` checks a file before it is sent",
        "fleet" => "`skerryctl status` shows the device's fleet",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Place {
        Place::from("10.0.0.5".parse::<client::NodeAddress>().expect("an address"))
    }

    fn refused(code: &str) -> CallError {
        CallError::Refused { address: address(), code: code.into(), message: "x".into() }
    }

    #[test]
    fn every_refusal_has_its_exit_code_and_says_what_to_do() {
        let certificate = |problem| CallError::Certificate { address: address(), problem };
        let cases = [
            (refused("signature"), Exit::Refused, Some("signature"), "config verify"),
            (refused("generation-older"), Exit::Refused, Some("generation-older"), "generation in force"),
            (CallError::Maintenance { address: address() }, Exit::NotNow, None, "skerryctl apply"),
            (certificate(CertificateProblem::Missing), Exit::Permission, None, "--context"),
            (certificate(CertificateProblem::WrongCa { name: "kim".into() }), Exit::Permission, None, "api.clientCa"),
        ];
        for (error, exit, code, hint) in cases {
            assert_eq!((error.exit(), error.refusal_code()), (exit, code), "{error}");
            assert!(error.hint().is_some_and(|text| text.contains(hint)), "{error}: {:?}", error.hint());
        }
    }
}
