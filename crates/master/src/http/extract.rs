//! What is taken out of requests, with problems that say what is wrong.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use sortie_engine::{JobId, TaskId};
use sortie_wire::draft::{FieldError, pointer_token};
use tokio_stream::StreamExt as _;
use utoipa::IntoParams;

use super::problem::Rejection;

/// The largest body that is taken, in bytes: a script, an input and an environment at their limits, with room for
/// JSON's escapes.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The most that is read of a body that is too large, in bytes.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// A body of JSON.
pub(crate) struct Json(pub(crate) Value);

/// Parameters of the query, all of which must be known.
pub(crate) struct Params<T>(pub(crate) T);

/// The id in the path. What is no id names nothing, and is not found.
pub(crate) struct Id<T>(pub(crate) T);

/// How long to wait for the end.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Answer at the end, but no later than after this time, to 5m; at once if absent.
    #[param(example = "30s")]
    wait: Option<String>,
}

/// A kind of id that stands in a path.
pub(crate) trait PathId: FromStr {
    /// What the id is of.
    const WHAT: &'static str;
}

impl PathId for TaskId {
    const WHAT: &'static str = "task";
}

impl PathId for JobId {
    const WHAT: &'static str = "job";
}

/// A worker's name; any text may be asked for.
pub(crate) struct WorkerName(pub(crate) String);

impl FromStr for WorkerName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(WorkerName(text.to_owned()))
    }
}

impl PathId for WorkerName {
    const WHAT: &'static str = "worker";
}

impl Wait {
    /// The time to wait, if one is asked for.
    pub(crate) fn duration(&self) -> Result<Option<Duration>, Rejection> {
        let parsed = self.wait.as_deref().map(humantime::parse_duration).transpose();
        parsed.map_err(|error| FieldError::new("/wait", format!("is not a duration such as 30s: {error}")).into())
    }
}

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        if !is_json(&request) {
            let detail = "the body must be JSON, and say so: Content-Type: application/json";
            return Err(Rejection::new(415, "not_json", detail));
        }
        let body = read(request.into_body()).await?;
        let parsed: Result<Value, _> = serde_json::from_slice(&body);
        let malformed = |error| Rejection::new(400, "malformed", format!("the body is not JSON: {error}"));
        parsed.map(with_whole_numbers).map(Json).map_err(malformed)
    }
}

/// Reads a body. Of one that is too large the rest is read too, up to a limit, and thrown away: a client that is
/// still sending when the connection is closed would see that, and not the answer.
async fn read(body: Body) -> Result<Vec<u8>, Rejection> {
    let mut stream = body.into_data_stream();
    let (mut read, mut total) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let unreadable = |error| Rejection::new(400, "unreadable", format!("the body cannot be read: {error}"));
        let chunk = chunk.map_err(unreadable)?;
        total += chunk.len();
        if total > MAX_DISCARDED_BYTES {
            break;
        } else if total > MAX_BODY_BYTES {
            read = Vec::new();
        } else {
            read.extend_from_slice(&chunk);
        }
    }
    match total > MAX_BODY_BYTES {
        true => Err(Rejection::new(413, "too_large", format!("the body is larger than {MAX_BODY_BYTES} bytes"))),
        false => Ok(read),
    }
}

impl Json {
    /// Reads the body as `T`; a field that does not fit is named.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Rejection> {
        // A struct can be read from an array too, by the order of its fields, which nobody can mean here.
        if !self.0.is_object() {
            return Err(FieldError::new("", "the body must be a JSON object").into());
        }
        serde_path_to_error::deserialize(self.0).map_err(|error| {
            let pointer: String = error.path().iter().filter_map(token).collect();
            FieldError::new(pointer, error.inner().to_string()).into()
        })
    }
}

/// JSON knows one kind of number: a field that is `3.0` is 3, however deep it stands.
fn with_whole_numbers(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
            whole.map_or(Value::Number(number), |whole| Value::from(whole as i64))
        }
        Value::Array(values) => values.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// One step of a path, as a token of a JSON pointer.
fn token(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", pointer_token(key))),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn is_json(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(Rejection::invalid(vec![FieldError::new("", rejection.body_text())])),
        }
    }
}

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let text = params.ok().and_then(|params| params.iter().next().map(|(_, value)| value.to_owned()));
        let text = text.unwrap_or_default();
        let not_found = |_| Rejection::new(404, "not_found", format!("there is no {} `{text}`", T::WHAT));
        text.parse().map(Id).map_err(not_found)
    }
}
