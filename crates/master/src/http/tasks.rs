//! Tasks over HTTP.

use std::net::SocketAddr;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sortie_engine::TaskId;
use utoipa::IntoParams;

use super::extract::{Id, Json, Params, Wait};
use super::problem::{OneProblems, ReadProblems, Rejection, SubmitProblems};
use super::submission::{IdempotencyKey, KeyHeader, created};
use super::{query, trace};
use crate::api::{Explanation, ListQuery, Spec, Task, TaskPage};
use crate::service::{NewJob, Service, Written};
use crate::view;

/// How many bytes of the streams that were asked for were not kept.
const DROPPED_BYTES: HeaderName = HeaderName::from_static("sortie-dropped-bytes");

/// Which attempt wrote it.
const ATTEMPT: HeaderName = HeaderName::from_static("sortie-attempt");

/// The task's state: before its end there is no output yet.
const TASK_STATE: HeaderName = HeaderName::from_static("sortie-task-state");

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct OutputQuery {
    /// Which stream; both, standard output first, if absent.
    #[param(inline)]
    stream: Stream,
    /// Which attempt, by its number; the last if absent.
    #[param(minimum = 1)]
    attempt: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdout,
    Stderr,
    #[default]
    Both,
}

/// Submit one task, as the tutorial did; the same as `POST /v1/tasks`.
#[utoipa::path(post, operation_id = "submit_task_short", path = "/tasks", tag = "tasks", params(Wait, KeyHeader), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Task, headers(("location" = String), ("idempotency-replayed" = bool))), SubmitProblems))]
pub(super) async fn submit_short(
    service: State<Service>,
    headers: HeaderMap,
    wait: Params<Wait>,
    key: IdempotencyKey,
    body: Json,
) -> Result<Response, Rejection> {
    submit(service, headers, wait, key, body).await
}

/// Submit one task. The answer comes when the task is on disk; with `wait`, when it has ended.
#[utoipa::path(post, operation_id = "submit_task", path = "/v1/tasks", tag = "tasks", params(Wait, KeyHeader), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Task, headers(("location" = String), ("idempotency-replayed" = bool))), SubmitProblems))]
pub(super) async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Params(wait): Params<Wait>,
    IdempotencyKey(key): IdempotencyKey,
    body: Json,
) -> Result<Response, Rejection> {
    let wait = wait.duration()?;
    let draft = view::draft(body.read()?).map_err(Rejection::invalid)?;
    let new = NewJob { draft, count: None, key, traceparent: trace::traceparent(&headers) };
    let submitted = service.submit(new).await?;
    let id = submitted.job.task(0);
    let row = service.task_after(id, wait).await?;
    Ok(created(format!("/v1/tasks/{id}"), submitted.replayed, Task::from(&row)))
}

/// List tasks, the newest first.
#[utoipa::path(get, operation_id = "list_tasks", path = "/v1/tasks", tag = "tasks", params(ListQuery),
    responses((status = 200, description = "A page.", body = TaskPage), ReadProblems))]
pub(super) async fn list(
    State(service): State<Service>,
    Params(query): Params<ListQuery>,
) -> Result<Answer<TaskPage>, Rejection> {
    let (filter, limit, cursor) = query::tasks(query)?;
    let page = service.tasks(filter, limit, cursor).await?;
    Ok(Answer(TaskPage { tasks: page.rows.iter().map(Task::from).collect(), next_cursor: page.next }))
}

/// Get one task, whole; with `wait`, when it has ended.
#[utoipa::path(get, operation_id = "get_task", path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path), Wait),
    responses((status = 200, description = "The task.", body = Task), OneProblems))]
pub(super) async fn get(
    State(service): State<Service>,
    Id(id): Id<TaskId>,
    Params(wait): Params<Wait>,
) -> Result<Answer<Task>, Rejection> {
    Ok(Answer(Task::from(&service.task_after(id, wait.duration()?).await?)))
}

/// Get what an attempt at a task wrote, once it has ended. `Sortie-Dropped-Bytes` says how much of it was not kept.
#[utoipa::path(get, operation_id = "read_output", path = "/v1/tasks/{id}/output", tag = "tasks", params(("id" = String, Path), OutputQuery),
    responses((status = 200, description = "The bytes, as they were written.", body = [u8], content_type = "application/octet-stream",
        headers(("sortie-dropped-bytes" = u64), ("sortie-task-state" = String), ("sortie-attempt" = u32))), OneProblems))]
pub(super) async fn output(
    State(service): State<Service>,
    Id(id): Id<TaskId>,
    Params(query): Params<OutputQuery>,
) -> Result<Response, Rejection> {
    let Written { state, attempt, output } = service.output(id, query.attempt).await?;
    let (bytes, dropped) = match query.stream {
        Stream::Stdout => (output.stdout.bytes, output.stdout.dropped),
        Stream::Stderr => (output.stderr.bytes, output.stderr.dropped),
        Stream::Both => {
            ([output.stdout.bytes, output.stderr.bytes].concat(), output.stdout.dropped + output.stderr.dropped)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (DROPPED_BYTES, HeaderValue::from(dropped)),
        (TASK_STATE, HeaderValue::from_static(state.as_str())),
    ];
    let mut response = (headers, bytes).into_response();
    response.headers_mut().extend(attempt.map(|number| (ATTEMPT, HeaderValue::from(number))));
    Ok(response)
}

/// Why a task is not running.
#[utoipa::path(get, operation_id = "explain_task", path = "/v1/tasks/{id}/why", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, description = "The reason.", body = Explanation), OneProblems))]
pub(super) async fn why(State(service): State<Service>, Id(id): Id<TaskId>) -> Result<Answer<Explanation>, Rejection> {
    let explanation = match service.explain(id).await? {
        Some(explanation) => view::explanation(&service.task(id).await?, &explanation),
        None => view::ended_explanation(&service.task(id).await?),
    };
    Ok(Answer(explanation))
}

/// Cancel a task. The task as it is then; with `wait`, when it has ended, with how. Cancelling again, or after the end,
/// changes nothing.
#[utoipa::path(post, operation_id = "cancel_task", path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path), Wait),
    responses((status = 200, description = "The task.", body = Task), OneProblems))]
pub(super) async fn cancel(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Id(id): Id<TaskId>,
    Params(wait): Params<Wait>,
) -> Result<Answer<Task>, Rejection> {
    let row = service.cancel_task(id, peer.ip().to_string(), wait.duration()?).await?;
    Ok(Answer(Task::from(&row)))
}
