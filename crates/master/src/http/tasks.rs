//! Tasks over HTTP.

use std::net::SocketAddr;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sortie_engine::TaskId;
use utoipa::IntoParams;

use super::extract::{Id, Json, Params, Wait};
use super::problem::{OneProblems, ReadProblems, Rejection, SubmitProblems};
use super::{query, trace};
use crate::api::{Explanation, ListQuery, Spec, Task, TaskPage};
use crate::service::Service;
use crate::view;

/// How many bytes of the streams that were asked for were not kept.
const DROPPED_BYTES: HeaderName = HeaderName::from_static("sortie-dropped-bytes");

/// The task's state: before its end there is no output yet.
const TASK_STATE: HeaderName = HeaderName::from_static("sortie-task-state");

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct OutputQuery {
    /// Which stream; both, standard output first, if absent.
    #[param(inline)]
    stream: Stream,
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
#[utoipa::path(post, operation_id = "submit_task_short", path = "/tasks", tag = "tasks", params(Wait), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Task, headers(("location" = String))), SubmitProblems))]
pub(super) async fn submit_short(
    service: State<Service>,
    headers: HeaderMap,
    wait: Params<Wait>,
    body: Json,
) -> Result<Response, Rejection> {
    submit(service, headers, wait, body).await
}

/// Submit one task. The answer comes when the task is on disk; with `wait`, when it has ended.
#[utoipa::path(post, operation_id = "submit_task", path = "/v1/tasks", tag = "tasks", params(Wait), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Task, headers(("location" = String))), SubmitProblems))]
pub(super) async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Params(wait): Params<Wait>,
    body: Json,
) -> Result<Response, Rejection> {
    let wait = wait.duration()?;
    let draft = view::draft(body.read()?).map_err(Rejection::invalid)?;
    let job = service.submit(draft, None, trace::traceparent(&headers)).await?;
    let id = job.task(0);
    let row = match wait {
        None => service.task(id).await?,
        Some(timeout) => service.wait_task(id, timeout).await?,
    };
    let location = [(header::LOCATION, format!("/v1/tasks/{id}"))];
    Ok((StatusCode::CREATED, location, Answer(Task::from(&row))).into_response())
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
    let row = match wait.duration()? {
        None => service.task(id).await?,
        Some(timeout) => service.wait_task(id, timeout).await?,
    };
    Ok(Answer(Task::from(&row)))
}

/// Get what a task wrote, once it has ended. `Sortie-Dropped-Bytes` says how much of it was not kept.
#[utoipa::path(get, operation_id = "read_output", path = "/v1/tasks/{id}/output", tag = "tasks", params(("id" = String, Path), OutputQuery),
    responses((status = 200, description = "The bytes, as they were written.", body = [u8], content_type = "application/octet-stream",
        headers(("sortie-dropped-bytes" = u64), ("sortie-task-state" = String))), OneProblems))]
pub(super) async fn output(
    State(service): State<Service>,
    Id(id): Id<TaskId>,
    Params(query): Params<OutputQuery>,
) -> Result<Response, Rejection> {
    let (state, output) = service.output(id).await?;
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
    Ok((headers, bytes).into_response())
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

/// Cancel a task; the task as it is then. Cancelling again, or after the end, changes nothing.
#[utoipa::path(post, operation_id = "cancel_task", path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, description = "The task.", body = Task), OneProblems))]
pub(super) async fn cancel(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Id(id): Id<TaskId>,
) -> Result<Answer<Task>, Rejection> {
    let row = service.cancel_task(id, peer.ip().to_string()).await?;
    Ok(Answer(Task::from(&row)))
}
