//! Jobs over HTTP.

use std::net::SocketAddr;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use sortie_engine::JobId;
use sortie_wire::draft::FieldError;

use super::extract::{Id, Json, Params, Wait};
use super::problem::{OneProblems, ReadProblems, Rejection, SubmitProblems};
use super::submission::{IdempotencyKey, KeyHeader, created};
use super::{query, trace};
use crate::api::{Job, JobPage, ListQuery, Spec};
use crate::service::{NewJob, Service};
use crate::view;

/// Submit an array of tasks that share a spec.
#[utoipa::path(post, operation_id = "submit_job", path = "/v1/jobs", tag = "jobs", params(Wait, KeyHeader), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Job, headers(("location" = String), ("idempotency-replayed" = bool))), SubmitProblems))]
pub(super) async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Params(wait): Params<Wait>,
    IdempotencyKey(key): IdempotencyKey,
    mut body: Json,
) -> Result<Response, Rejection> {
    let wait = wait.duration()?;
    let count = take_count(&mut body.0)?;
    let draft = view::draft(body.read()?).map_err(Rejection::invalid)?;
    let new = NewJob { draft, count, key, traceparent: trace::traceparent(&headers) };
    let submitted = service.submit(new).await?;
    let row = service.job_after(submitted.job, wait).await?;
    Ok(created(format!("/v1/jobs/{}", submitted.job), submitted.replayed, Job::from(&row)))
}

/// Takes `count` out of the body: what remains is a task's spec.
fn take_count(body: &mut Value) -> Result<Option<u32>, FieldError> {
    let count = body.as_object_mut().and_then(|fields| fields.remove("count")).unwrap_or_default();
    serde_json::from_value(count).map_err(|error| FieldError::new("/count", error.to_string()))
}

/// List jobs, the newest first.
#[utoipa::path(get, operation_id = "list_jobs", path = "/v1/jobs", tag = "jobs", params(ListQuery),
    responses((status = 200, description = "A page.", body = JobPage), ReadProblems))]
pub(super) async fn list(
    State(service): State<Service>,
    Params(query): Params<ListQuery>,
) -> Result<Answer<JobPage>, Rejection> {
    let (filter, limit, cursor) = query::jobs(query)?;
    let page = service.jobs(filter, limit, cursor).await?;
    Ok(Answer(JobPage { jobs: page.rows.iter().map(Job::from).collect(), next_cursor: page.next }))
}

/// Get one job, with how many of its tasks are in each state; with `wait`, when all have ended.
#[utoipa::path(get, operation_id = "get_job", path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path), Wait),
    responses((status = 200, description = "The job.", body = Job), OneProblems))]
pub(super) async fn get(
    State(service): State<Service>,
    Id(id): Id<JobId>,
    Params(wait): Params<Wait>,
) -> Result<Answer<Job>, Rejection> {
    Ok(Answer(Job::from(&service.job_after(id, wait.duration()?).await?)))
}

/// Cancel every task of a job that has not ended. The job as it is then; with `wait`, when all have ended.
#[utoipa::path(post, operation_id = "cancel_job", path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path), Wait),
    responses((status = 200, description = "The job.", body = Job), OneProblems))]
pub(super) async fn cancel(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Id(id): Id<JobId>,
    Params(wait): Params<Wait>,
) -> Result<Answer<Job>, Rejection> {
    let row = service.cancel_job(id, peer.ip().to_string(), wait.duration()?).await?;
    Ok(Answer(Job::from(&row)))
}
