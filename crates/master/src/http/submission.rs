//! What all submissions have in common: the key that they may have, and the answer that they get.

use axum::Json as Answer;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::IntoParams;

use super::problem::Rejection;
use crate::key::{Key, NoKey};

/// What makes a repeat of a submission known as one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Whether the submission is a repeat.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The header that a submission may have.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) struct KeyHeader {
    /// Makes a repeat of the request safe: within a day of the first one it makes nothing new, and is answered with the
    /// first one's task or job as it is by then, and with `Idempotency-Replayed`. The same key with another body is a
    /// conflict. 1 to 255 visible ASCII characters.
    #[param(rename = "Idempotency-Key")]
    key: Option<String>,
}

/// The key of a submission.
pub(super) struct IdempotencyKey(pub(super) Option<Key>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(IdempotencyKey(None)) };
        if values.next().is_some() {
            return Err(no_key("there is more than one Idempotency-Key; a request has one key".to_owned()));
        }
        let key = value.to_str().map_err(|_| NoKey).and_then(str::parse);
        key.map(Some).map(IdempotencyKey).map_err(|error: NoKey| no_key(format!("Idempotency-Key: {error}")))
    }
}

fn no_key(detail: String) -> Rejection {
    Rejection::new(400, "no_key", detail)
}

/// The answer to a submission: what it stands for, where that is, and whether it was submitted before.
pub(super) fn created(location: String, replayed: bool, body: impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Answer(body)).into_response();
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
