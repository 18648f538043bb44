//! What a call that failed means: a pure function from the gRPC status and what is known beside it.

use jiff::Timestamp;
use rustls::AlertDescription;
use tonic::{Code, Status};

use super::identity::Claims;
use super::{CallError, CertificateProblem, Place};

/// What is known beside the status.
pub(super) struct Facts<'a> {
    pub(super) address: &'a Place,
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
        // init says with the status whether the configuration is at fault (these two) or the device.
        _ if facts.method == "ApplyConfig" && matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) => {
            let message = status.message().trim_start_matches("refused: ").to_owned();
            CallError::Refused { address, code: code.to_owned(), message }
        }
        // With a code of its own it is the node that says so; without, the connection broke.
        _ if status.code() == Code::Unavailable => CallError::NotNow { address, message: status.message().to_owned() },
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
        // A CA of the same name but with another key: the certificate's signature does not hold.
        (AlertDescription::UnknownCA | AlertDescription::DecryptError, _) => CertificateProblem::WrongCa { name },
        (
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
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
        let address = Place::from("10.0.0.5".parse::<crate::NodeAddress>().unwrap());
        explain(&status, &Facts { address: &address, method, alert, claims: Some(&claims()) })
    }

    fn coded(mut status: Status, code: &'static str) -> Status {
        status.metadata_mut().insert(api::ERROR_CODE_METADATA, MetadataValue::from_static(code));
        status
    }

    #[test]
    fn every_refusal_is_told_from_the_others() {
        type Kind = fn(&CallError) -> bool;
        let is_certificate: Kind = |error| matches!(error, CallError::Certificate { .. });
        let is_role: Kind = |error| matches!(error, CallError::Role { .. });
        let cases: [(Status, &'static str, Kind); 13] = [
            (
                coded(Status::invalid_argument("x"), "signature"),
                "ApplyConfig",
                |error| matches!(error, CallError::Refused { code, .. } if code == "signature"),
            ),
            (
                coded(Status::invalid_argument("x"), "generation-older"),
                "ApplyConfig",
                |error| matches!(error, CallError::Refused { code, .. } if code == "generation-older"),
            ),
            // A device that cannot take a configuration now has not refused it.
            (coded(Status::unavailable("STATE is not open yet"), "not-ready"), "ApplyConfig", |error| {
                matches!(error, CallError::NotNow { .. })
            }),
            (coded(Status::internal("STATE is full"), "not-ready"), "ApplyConfig", |error| {
                matches!(error, CallError::Failed { .. })
            }),
            (coded(Status::failed_precondition("x"), "maintenance"), "Services", |error| {
                matches!(error, CallError::Maintenance { .. })
            }),
            (coded(Status::unauthenticated("x"), "certificate-missing"), "Status", is_certificate),
            (coded(Status::unauthenticated("x"), "certificate-expired"), "Status", is_certificate),
            (coded(Status::permission_denied("x"), "role-too-low"), "Reboot", is_role),
            (coded(Status::permission_denied("x"), "role-missing"), "Status", is_role),
            (Status::unimplemented("x"), "Containers", |error| matches!(error, CallError::Unknown { .. })),
            (Status::unavailable("x"), "Status", |error| matches!(error, CallError::Lost { .. })),
            (Status::not_found("no service `x`"), "Logs", |error| matches!(error, CallError::NotFound { .. })),
            (Status::failed_precondition("stopping"), "Reboot", |error| matches!(error, CallError::NotNow { .. })),
        ];
        for (status, method, is_meant) in cases {
            let error = explain_with(status, method, None);
            assert!(is_meant(&error), "{error:?}");
        }
    }

    #[test]
    fn the_tls_alert_explains_a_cancelled_call() {
        let cases = [
            (AlertDescription::CertificateRequired, "none was shown"),
            (AlertDescription::CertificateExpired, "`kim` is not valid now"),
            (AlertDescription::UnknownCA, "`kim` is not signed by the CA"),
            (AlertDescription::DecryptError, "`kim` is not signed by the CA"),
            (AlertDescription::BadCertificate, "`kim` is refused (BadCertificate)"),
        ];
        for (alert, expected) in cases {
            let error = explain_with(Status::cancelled("operation was canceled"), "Status", Some(alert));
            assert!(matches!(error, CallError::Certificate { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_role_too_low_names_the_role_that_does() {
        let error = explain_with(coded(Status::permission_denied("kim is reader"), "role-too-low"), "Reboot", None);
        assert!(matches!(error, CallError::Role { needs: Some("operator"), .. }), "{error:?}");
    }
}
