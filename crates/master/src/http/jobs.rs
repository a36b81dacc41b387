//! Jobs over HTTP.

use std::net::SocketAddr;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sortie_engine::{FieldError, JobId};

use super::extract::{Id, Json, Params, Wait};
use super::problem::{OneProblems, ReadProblems, Rejection, SubmitProblems};
use super::{query, trace};
use crate::api::{Job, JobPage, ListQuery, Spec};
use crate::service::Service;
use crate::view;

/// Submit an array of tasks that share a spec.
#[utoipa::path(post, operation_id = "submit_job", path = "/v1/jobs", tag = "jobs", params(Wait), request_body = Spec,
    responses((status = 201, description = "It is on disk.", body = Job, headers(("location" = String))), SubmitProblems))]
pub(super) async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Params(wait): Params<Wait>,
    mut body: Json,
) -> Result<Response, Rejection> {
    let wait = wait.duration()?;
    let count = take_count(&mut body.0)?;
    let draft = view::draft(body.read()?).map_err(Rejection::invalid)?;
    let id = service.submit(draft, count, trace::traceparent(&headers)).await?;
    let row = match wait {
        None => service.job(id).await?,
        Some(timeout) => service.wait_job(id, timeout).await?,
    };
    let location = [(header::LOCATION, format!("/v1/jobs/{id}"))];
    Ok((StatusCode::CREATED, location, Answer(Job::from(&row))).into_response())
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
    let row = match wait.duration()? {
        None => service.job(id).await?,
        Some(timeout) => service.wait_job(id, timeout).await?,
    };
    Ok(Answer(Job::from(&row)))
}

/// Cancel every task of a job that has not ended; the job as it is then.
#[utoipa::path(post, operation_id = "cancel_job", path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, description = "The job.", body = Job), OneProblems))]
pub(super) async fn cancel(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Id(id): Id<JobId>,
) -> Result<Answer<Job>, Rejection> {
    let row = service.cancel_job(id, peer.ip().to_string()).await?;
    Ok(Answer(Job::from(&row)))
}
