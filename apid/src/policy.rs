//! Whether a call is allowed. Pure: the one place that decides, from the method table in `api`.

use std::time::SystemTime;

use api::{METHODS, Role, method};

use crate::peer::Peer;

/// Prefixes of the services apid answers by itself, in the role of a reader.
const LOCAL_SERVICES: [&str; 3] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];

/// Where an allowed call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To init, over the unix socket.
    Init,
    /// To apid's own health and reflection services.
    Local,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The path is in no table.
    #[error("no method `{0}`; see `skerryctl --help` for what this device answers")]
    UnknownMethod(String),
    /// No client certificate was shown.
    #[error("a client certificate is required; name a context file with --context or SKERRY_CONTEXT")]
    CertificateMissing,
    /// The certificate was valid when the connection began and is not any more.
    #[error("the client certificate of `{0}` has expired; issue a new one with `skerryctl fleet cert`")]
    CertificateExpired(String),
    /// The certificate's organisation is no role.
    #[error("the client certificate of `{0}` names no role; its organisation must be admin, operator or reader")]
    NoRole(String),
    /// The role may not call the method.
    #[error("`{peer}` is {have}; {path} needs {need}")]
    RoleTooLow {
        /// The caller.
        peer: String,
        /// The caller's role.
        have: &'static str,
        /// The least role that may call.
        need: &'static str,
        /// The method.
        path: String,
    },
    /// The device has no configuration and the method is not among the four that answer then.
    #[error("the device is in maintenance and answers only {}; apply a signed configuration first", open_methods())]
    Maintenance,
}

impl Refused {
    /// The stable code sent beside the message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownMethod(_) => "method-unknown",
            Self::CertificateMissing => "certificate-missing",
            Self::CertificateExpired(_) => "certificate-expired",
            Self::NoRole(_) => "role-missing",
            Self::RoleTooLow { .. } => "role-too-low",
            Self::Maintenance => "maintenance",
        }
    }

    /// The gRPC status a caller sees.
    pub fn status(&self) -> tonic::Status {
        let message = self.to_string();
        let mut status = match self {
            Self::UnknownMethod(_) => tonic::Status::unimplemented(message),
            Self::CertificateMissing | Self::CertificateExpired(_) => tonic::Status::unauthenticated(message),
            Self::NoRole(_) | Self::RoleTooLow { .. } => tonic::Status::permission_denied(message),
            Self::Maintenance => tonic::Status::failed_precondition(message),
        };
        status.metadata_mut().insert(api::ERROR_CODE_METADATA, tonic::metadata::MetadataValue::from_static(self.code()));
        status
    }
}

fn open_methods() -> String {
    let names: Vec<_> =
        METHODS.iter().filter(|m| m.in_maintenance).map(|m| m.path.rsplit('/').next().unwrap_or(m.path)).collect();
    names.join(", ")
}

/// Decides one call. `maintenance` is whether the device has no accepted configuration yet.
pub fn decide(path: &str, peer: &Peer, maintenance: bool, now: SystemTime) -> Result<Route, Refused> {
    let (need, in_maintenance, route) = match method(path) {
        Some(entry) => (entry.role, entry.in_maintenance, Route::Init),
        None if LOCAL_SERVICES.iter().any(|prefix| path.starts_with(prefix)) => (Role::Reader, false, Route::Local),
        None => return Err(Refused::UnknownMethod(path.to_owned())),
    };
    if maintenance {
        return if in_maintenance { Ok(route) } else { Err(Refused::Maintenance) };
    }
    match peer {
        Peer::Anonymous => Err(Refused::CertificateMissing),
        Peer::Certified { name, expires, .. } if *expires <= now => Err(Refused::CertificateExpired(name.clone())),
        Peer::Certified { name, role: None, .. } => Err(Refused::NoRole(name.clone())),
        Peer::Certified { role: Some(role), .. } if *role >= need => Ok(route),
        Peer::Certified { name, role: Some(role), .. } => {
            Err(Refused::RoleTooLow { peer: name.clone(), have: role.as_str(), need: need.as_str(), path: path.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn peer(role: Option<Role>) -> Peer {
        Peer::Certified { name: "kim".into(), role, expires: NOW + Duration::from_secs(1) }
    }

    fn code(path: &str, peer: &Peer, maintenance: bool) -> &'static str {
        decide(path, peer, maintenance, NOW).map_or_else(|refused| refused.code(), |_| "allowed")
    }

    #[test]
    fn maintenance_answers_the_four_open_methods_and_nothing_else() {
        for entry in METHODS {
            let expected = if entry.in_maintenance { "allowed" } else { "maintenance" };
            assert_eq!(code(entry.path, &Peer::Anonymous, true), expected, "{}", entry.path);
            // A certificate opens nothing more: there is no CA yet to judge it by.
            assert_eq!(code(entry.path, &peer(Some(Role::Admin)), true), expected, "{}", entry.path);
        }
        assert_eq!(code("/grpc.health.v1.Health/Check", &Peer::Anonymous, true), "maintenance");
    }

    #[test]
    fn configured_device_refuses_every_call_without_a_certificate() {
        for entry in METHODS {
            assert_eq!(code(entry.path, &Peer::Anonymous, false), "certificate-missing", "{}", entry.path);
        }
    }

    #[test]
    fn each_role_may_call_exactly_what_the_table_gives_it() {
        for entry in METHODS {
            for role in [Role::Reader, Role::Operator, Role::Admin] {
                let expected = if role >= entry.role { "allowed" } else { "role-too-low" };
                assert_eq!(code(entry.path, &peer(Some(role)), false), expected, "{role:?} {}", entry.path);
            }
        }
    }

    #[test]
    fn a_certificate_without_a_role_may_call_nothing() {
        for entry in METHODS {
            assert_eq!(code(entry.path, &peer(None), false), "role-missing");
        }
    }

    #[test]
    fn a_certificate_that_expires_on_an_open_connection_stops_working() {
        let path = "/skerry.v1.Node/Status";
        let later = NOW + Duration::from_secs(1);
        assert_eq!(decide(path, &peer(Some(Role::Admin)), false, later), Err(Refused::CertificateExpired("kim".into())));
    }

    #[test]
    fn paths_outside_the_tables_are_refused_for_everyone() {
        for path in ["/skerry.v1.Node/Exec", "/skerry.internal.v1.Daemon/WatchSettings", "/", "", "/skerry.v1.Node/Version/"] {
            for maintenance in [true, false] {
                assert_eq!(code(path, &peer(Some(Role::Admin)), maintenance), "method-unknown", "{path:?}");
            }
        }
    }

    #[test]
    fn health_and_reflection_are_local_and_need_a_reader() {
        for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
            assert_eq!(decide(path, &peer(Some(Role::Reader)), false, NOW), Ok(Route::Local));
            assert_eq!(code(path, &Peer::Anonymous, false), "certificate-missing");
        }
    }

    #[test]
    fn refusals_say_who_and_what_is_needed() {
        let refused = decide("/skerry.v1.Node/Reboot", &peer(Some(Role::Reader)), false, NOW).expect_err("a reader");
        assert_eq!(refused.to_string(), "`kim` is reader; /skerry.v1.Node/Reboot needs operator");
        let status = refused.status();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(status.metadata().get(api::ERROR_CODE_METADATA).map(|v| v.as_bytes()), Some(b"role-too-low".as_slice()));
    }
}
