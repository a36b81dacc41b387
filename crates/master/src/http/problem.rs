//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sortie_wire::draft::FieldError;
use utoipa::IntoResponses;

use crate::api::{FieldProblem, Problem};
use crate::handle::Unanswered;
use crate::service::Error;

/// How soon a client that was told to come again should do so, in seconds.
const RETRY_AFTER_S: &str = "1";

/// A request that is answered with a problem.
#[derive(Debug)]
pub(crate) struct Rejection(Problem);

/// The problems of a request that reads.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(crate) enum ReadProblems {
    /// A parameter cannot be.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The store cannot be read.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The master is stopping.
    #[response(status = 503, content_type = "application/problem+json")]
    Stopping(Problem),
}

/// The problems of a request about one thing.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(crate) enum OneProblems {
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// A parameter cannot be.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The master is busy; try again after `Retry-After` seconds.
    #[response(status = 429, content_type = "application/problem+json")]
    Busy(Problem),
    /// The store cannot be read.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The master is stopping.
    #[response(status = 503, content_type = "application/problem+json")]
    Stopping(Problem),
}

/// The problems of a submission.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(crate) enum SubmitProblems {
    /// The body is not JSON, or the idempotency key cannot be.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The idempotency key stands for another submission, whose job is named.
    #[response(status = 409, content_type = "application/problem+json")]
    KeyTaken(Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body does not say that it is JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// A field cannot be; `errors` names each.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The master is busy, or as much waits as may wait; try again after `Retry-After` seconds.
    #[response(status = 429, content_type = "application/problem+json")]
    Busy(Problem),
    /// The store cannot be read.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The master is stopping.
    #[response(status = 503, content_type = "application/problem+json")]
    Stopping(Problem),
}

impl Rejection {
    /// A problem of the kind `kind`, with what is wrong and what to do.
    pub(crate) fn new(status: u16, kind: &str, detail: impl Into<String>) -> Self {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Rejection(Problem {
            r#type: format!("urn:sortie:problem:{kind}"),
            title: code.canonical_reason().unwrap_or("Error").to_owned(),
            status: code.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        })
    }

    /// Fields that cannot be, each with its reason.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let mut rejection = Rejection::new(422, "invalid_field", detail);
        rejection.0.errors =
            errors.into_iter().map(|error| FieldProblem { pointer: error.pointer, detail: error.detail }).collect();
        rejection
    }
}

impl From<FieldError> for Rejection {
    fn from(error: FieldError) -> Self {
        Rejection::invalid(vec![error])
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Invalid(errors) => Rejection::invalid(errors),
            Error::NotFound { .. } => Rejection::new(404, "not_found", detail),
            Error::KeyTaken(_) => Rejection::new(409, "key_taken", detail),
            Error::QueueFull => Rejection::new(429, "queue_full", detail),
            Error::Unanswered(Unanswered::Busy) => Rejection::new(429, "busy", detail),
            Error::Unanswered(Unanswered::Stopping) => Rejection::new(503, "stopping", detail),
            Error::Store(_) | Error::Defect(_) => {
                tracing::error!(error = detail, "a request failed");
                Rejection::new(500, "internal", detail)
            }
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}
