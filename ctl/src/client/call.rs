//! What a call that failed means, and what to do about it. A pure function from the gRPC status and what is known beside it.

use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription;
use tonic::{Code, Status};

use crate::failure::{Exit, Explain};

use super::NodeAddress;
use super::identity::Claims;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The node refused the configuration.
    #[error("{address} refuses the configuration ({code}): {message}")]
    Refused {
        /// The node.
        address: NodeAddress,
        /// The stable code, e.g. `signature`.
        code: String,
        /// The node's own words.
        message: String,
    },
    /// The client certificate does not do.
    #[error("{address} refuses the call: {problem}")]
    Certificate {
        /// The node.
        address: NodeAddress,
        /// What is wrong with the certificate.
        problem: CertificateProblem,
    },
    /// The role may not call this.
    #[error("{address} refuses the call: {message}")]
    Role {
        /// The node.
        address: NodeAddress,
        /// The node's own words.
        message: String,
        /// The least role that may.
        needs: Option<&'static str>,
    },
    /// What was asked for is not there.
    #[error("{address}: {message}")]
    NotFound {
        /// The node.
        address: NodeAddress,
        /// The node's own words.
        message: String,
    },
    /// The node is in maintenance.
    #[error("{address} is in maintenance and does not answer this")]
    Maintenance {
        /// The node.
        address: NodeAddress,
    },
    /// The node cannot do it in its present state.
    #[error("{address} cannot do this now: {message}")]
    NotNow {
        /// The node.
        address: NodeAddress,
        /// The node's own words.
        message: String,
    },
    /// No answer in time.
    #[error("{address} does not answer {method} within {} s", timeout.as_secs_f32())]
    Timeout {
        /// The node.
        address: NodeAddress,
        /// The method.
        method: &'static str,
        /// The time allowed.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("the connection to {address} broke during {method}: {message}")]
    Lost {
        /// The node.
        address: NodeAddress,
        /// The method.
        method: &'static str,
        /// What is known of it.
        message: String,
    },
    /// The node does not know the method.
    #[error("{address} does not know {method}")]
    Unknown {
        /// The node.
        address: NodeAddress,
        /// The method.
        method: &'static str,
    },
    /// Anything else the node reports.
    #[error("{address} fails at {method}: {message}")]
    Failed {
        /// The node.
        address: NodeAddress,
        /// The method.
        method: &'static str,
        /// The node's own words.
        message: String,
    },
}

/// What is wrong with a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// None was shown.
    #[error("it asks for a client certificate and none was shown")]
    Missing,
    /// Its time is over, or has not come on the node's clock.
    #[error("the certificate of `{name}` is not valid now (it ends {not_after})")]
    Expired {
        /// Its common name.
        name: String,
        /// Its end.
        not_after: Timestamp,
    },
    /// Another CA signed it.
    #[error("the certificate of `{name}` is not signed by the CA in the node's configuration")]
    WrongCa {
        /// Its common name.
        name: String,
    },
    /// Refused for another reason.
    #[error("the certificate of `{name}` is refused ({alert})")]
    Bad {
        /// Its common name.
        name: String,
        /// The TLS alert.
        alert: String,
    },
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
            Self::Certificate { problem, .. } => Some(problem.hint().into()),
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

impl CertificateProblem {
    fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "name a context with --context (a fleet folder has one), or a certificate with --cert",
            Self::Expired { .. } => "make a new one with `skerryctl fleet cert`; if it is still valid, the node's clock is wrong",
            Self::WrongCa { .. } => "use a certificate of the fleet whose CA stands in the node's api.clientCa",
            Self::Bad { .. } => "make a new one with `skerryctl fleet cert`",
        }
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

/// What is known beside the status.
pub(super) struct Facts<'a> {
    pub(super) address: &'a NodeAddress,
    pub(super) method: &'static str,
    pub(super) alert: Option<AlertDescription>,
    pub(super) claims: Option<&'a Claims>,
}

/// Finds out what a failed call means.
pub(super) fn explain(status: &Status, facts: &Facts<'_>) -> CallError {
    if let Some(problem) = facts.alert.and_then(|alert| certificate_problem(alert, facts.claims)) {
        return CallError::Certificate { address: facts.address.clone(), problem };
    }
    let code = status.metadata().get(api::ERROR_CODE_METADATA).and_then(|code| code.to_str().ok());
    match code {
        Some(code) => explain_code(code, status, facts),
        None => explain_status(status, facts),
    }
}

/// Refusals with a stable code: apid's own first; what else comes from `ApplyConfig` judges the configuration.
fn explain_code(code: &str, status: &Status, facts: &Facts<'_>) -> CallError {
    let address = facts.address.clone();
    let name = || facts.claims.map(|claims| claims.name.clone()).unwrap_or_default();
    match code {
        "maintenance" => CallError::Maintenance { address },
        "certificate-missing" => CallError::Certificate { address, problem: CertificateProblem::Missing },
        "certificate-expired" => {
            let not_after = facts.claims.map_or(Timestamp::UNIX_EPOCH, |claims| claims.not_after);
            CallError::Certificate { address, problem: CertificateProblem::Expired { name: name(), not_after } }
        }
        "role-missing" | "role-too-low" => {
            CallError::Role { address, message: status.message().to_owned(), needs: needed_role(facts.method) }
        }
        _ if facts.method == "ApplyConfig" => {
            let message = status.message().trim_start_matches("refused: ").to_owned();
            CallError::Refused { address, code: code.to_owned(), message }
        }
        _ => explain_status(status, facts),
    }
}

fn explain_status(status: &Status, facts: &Facts<'_>) -> CallError {
    let address = facts.address.clone();
    let method = facts.method;
    let message = status.message().to_owned();
    match status.code() {
        Code::Unauthenticated => CallError::Certificate { address, problem: CertificateProblem::Missing },
        Code::PermissionDenied => CallError::Role { address, message, needs: needed_role(method) },
        Code::NotFound => CallError::NotFound { address, message },
        Code::FailedPrecondition | Code::Aborted | Code::ResourceExhausted => CallError::NotNow { address, message },
        Code::Unimplemented => CallError::Unknown { address, method },
        Code::Unavailable | Code::Cancelled => CallError::Lost { address, method, message: lost_message(status) },
        Code::Unknown if std::error::Error::source(status).is_some() => {
            CallError::Lost { address, method, message: lost_message(status) }
        }
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => CallError::Failed { address, method, message },
    }
}

/// "transport error" says nothing; the innermost cause does.
fn lost_message(status: &Status) -> String {
    let mut deepest = None;
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        deepest = Some(error.to_string());
        cause = error.source();
    }
    deepest.unwrap_or_else(|| status.message().to_owned())
}

fn needed_role(method: &str) -> Option<&'static str> {
    api::method(&format!("/skerry.v1.Node/{method}")).map(|entry| entry.role.as_str())
}

fn certificate_problem(alert: AlertDescription, claims: Option<&Claims>) -> Option<CertificateProblem> {
    let name = claims.map(|claims| claims.name.clone()).unwrap_or_default();
    Some(match (alert, claims) {
        (AlertDescription::CertificateRequired, _) | (AlertDescription::NoCertificate, _) => CertificateProblem::Missing,
        (AlertDescription::CertificateExpired, Some(claims)) => CertificateProblem::Expired { name, not_after: claims.not_after },
        (AlertDescription::UnknownCA, _) => CertificateProblem::WrongCa { name },
        (
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
            _,
        ) => CertificateProblem::Bad { name, alert: format!("{alert:?}") },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;

    fn claims() -> Claims {
        Claims { role: Some(api::Role::Reader), name: "kim".into(), not_after: Timestamp::UNIX_EPOCH }
    }

    fn explain_with(status: Status, method: &'static str, alert: Option<AlertDescription>) -> CallError {
        let address: NodeAddress = "10.0.0.5".parse().unwrap();
        explain(&status, &Facts { address: &address, method, alert, claims: Some(&claims()) })
    }

    fn coded(mut status: Status, code: &'static str) -> Status {
        status.metadata_mut().insert(api::ERROR_CODE_METADATA, MetadataValue::from_static(code));
        status
    }

    #[test]
    fn every_refusal_has_its_exit_code_and_says_what_to_do() {
        let cases = [
            (coded(Status::invalid_argument("x"), "signature"), "ApplyConfig", Exit::Refused, Some("signature")),
            (coded(Status::invalid_argument("x"), "generation-older"), "ApplyConfig", Exit::Refused, Some("generation-older")),
            (coded(Status::failed_precondition("x"), "maintenance"), "Services", Exit::NotNow, None),
            (coded(Status::unauthenticated("x"), "certificate-missing"), "Status", Exit::Permission, None),
            (coded(Status::unauthenticated("x"), "certificate-expired"), "Status", Exit::Permission, None),
            (coded(Status::permission_denied("x"), "role-too-low"), "Reboot", Exit::Permission, None),
            (coded(Status::permission_denied("x"), "role-missing"), "Status", Exit::Permission, None),
            (Status::unimplemented("x"), "Containers", Exit::Failure, None),
            (Status::unavailable("x"), "Status", Exit::Unreachable, None),
        ];
        for (status, method, exit, code) in cases {
            let error = explain_with(status, method, None);
            assert_eq!((error.exit(), error.refusal_code()), (exit, code), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn a_missing_service_is_not_found_and_a_busy_node_is_not_now() {
        assert_eq!(explain_with(Status::not_found("no service `x`"), "Logs", None).exit(), Exit::NotFound);
        assert_eq!(explain_with(Status::failed_precondition("stopping"), "Reboot", None).exit(), Exit::NotNow);
        assert_eq!(explain_with(Status::internal("disk"), "Status", None).exit(), Exit::Failure);
    }

    #[test]
    fn the_tls_alert_explains_a_cancelled_call() {
        let cases = [
            (AlertDescription::CertificateRequired, "none was shown"),
            (AlertDescription::CertificateExpired, "`kim` is not valid now"),
            (AlertDescription::UnknownCA, "`kim` is not signed by the CA"),
            (AlertDescription::BadCertificate, "`kim` is refused (BadCertificate)"),
        ];
        for (alert, expected) in cases {
            let error = explain_with(Status::cancelled("operation was canceled"), "Status", Some(alert));
            assert_eq!(error.exit(), Exit::Permission);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_role_too_low_names_the_role_that_does() {
        let error = explain_with(coded(Status::permission_denied("kim is reader"), "role-too-low"), "Reboot", None);
        assert!(error.hint().is_some_and(|hint| hint.contains("--role operator")), "{error}");
    }
}
