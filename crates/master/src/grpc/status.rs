//! Errors as gRPC's status.

use sortie_engine::Refusal;
use sortie_wire::draft::FieldError;
use tonic::Status;

use crate::handle::Unanswered;
use crate::service::Error;

impl From<Unanswered> for Status {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Busy => Status::resource_exhausted(error.to_string()),
            Unanswered::Stopping => Status::unavailable(error.to_string()),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Invalid(errors) => invalid(&errors),
            Error::NotFound { .. } => Status::not_found(detail),
            Error::KeyTaken(_) => Status::already_exists(detail),
            Error::QueueFull => Status::resource_exhausted(detail),
            Error::Unanswered(error) => error.into(),
            Error::Store(_) | Error::Defect(_) => {
                tracing::error!(error = detail, "a call failed");
                Status::internal(detail)
            }
        }
    }
}

/// Fields that cannot be, each with its reason.
pub(super) fn invalid(errors: &[FieldError]) -> Status {
    Status::invalid_argument(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// What a worker that may not join or connect is told.
pub(super) fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::NameTaken => Status::already_exists(refusal.to_string()),
        Refusal::Outdated => Status::aborted(refusal.to_string()),
        Refusal::NoSession => Status::failed_precondition(refusal.to_string()),
    }
}
