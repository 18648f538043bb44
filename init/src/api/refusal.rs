//! Refusals as gRPC statuses: a message for people, a stable code for programs in the metadata.

use machine_config::Refusal;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::hub::HubError;
use crate::node::ApplyError;
use crate::services::RestartError;

/// A status with its stable code.
pub(super) fn refusal(code: Code, error_code: &'static str, message: impl Into<String>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(api::ERROR_CODE_METADATA, MetadataValue::from_static(error_code));
    Status::with_metadata(code, message, metadata)
}

/// The status of a configuration that was not applied.
pub(super) fn of_apply(error: &ApplyError) -> Status {
    let code = match error {
        ApplyError::Refused(refused) => of_judgement(refused),
        ApplyError::NotReady(_) => Code::Unavailable,
        ApplyError::Store(_) | ApplyError::Defect => Code::Internal,
    };
    refusal(code, error.code(), error.to_string())
}

/// What is wrong with the file itself is an invalid argument; what is wrong with it here and now is a failed precondition.
fn of_judgement(refused: &Refusal) -> Code {
    match refused {
        Refusal::Size { .. } | Refusal::Utf8 { .. } | Refusal::Envelope(_) | Refusal::Schema(_) | Refusal::Semantics(_) => {
            Code::InvalidArgument
        }
        Refusal::Unproven(_)
        | Refusal::Fleet { .. }
        | Refusal::Target { .. }
        | Refusal::GenerationOlder { .. }
        | Refusal::GenerationConflict { .. } => Code::FailedPrecondition,
    }
}

/// The status of what was not done for a hub.
pub(super) fn of_hub(error: &HubError) -> Status {
    let code = match error {
        HubError::NoHub => Code::FailedPrecondition,
        HubError::Malformed { .. } => Code::InvalidArgument,
        HubError::Busy => Code::ResourceExhausted,
    };
    refusal(code, error.code(), error.to_string())
}

/// The status of a restart that was not done.
pub(super) fn of_restart(error: &RestartError) -> Status {
    match error {
        RestartError::Unknown { .. } => refusal(Code::NotFound, "service-unknown", error.to_string()),
        RestartError::Stopping { .. } => refusal(Code::FailedPrecondition, "stopping", error.to_string()),
    }
}
