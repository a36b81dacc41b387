//! Workers over HTTP.

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use sortie_engine::Admission;
use sortie_store::WorkerFilter;
use sortie_wire::draft::FieldError;
use utoipa::IntoParams;

use super::extract::{Id, Params, WorkerName};
use super::problem::{OneProblems, ReadProblems, Rejection};
use crate::api::{Worker, WorkerPage, WorkerState};
use crate::service::{Service, checked_limit};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct WorkersQuery {
    /// The worker's state.
    #[param(inline)]
    state: Option<WorkerState>,
    /// The worker's labels, as a selector.
    #[param(example = "zone=a")]
    label: Option<String>,
    /// The most that one page has, to 1000; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List workers, by name.
#[utoipa::path(get, operation_id = "list_workers", path = "/v1/workers", tag = "workers", params(WorkersQuery),
    responses((status = 200, description = "A page.", body = WorkerPage), ReadProblems))]
pub(super) async fn list(
    State(service): State<Service>,
    Params(query): Params<WorkersQuery>,
) -> Result<Answer<WorkerPage>, Rejection> {
    let selector = query.label.unwrap_or_default().parse();
    let selector = selector.map_err(|error: sortie_engine::LabelError| FieldError::new("/label", error.to_string()))?;
    let states = query.state.map(|state| state.as_str().to_owned()).into_iter().collect();
    let limit = checked_limit(query.limit)?;
    let page = service.workers(WorkerFilter { states, selector }, limit, query.cursor).await?;
    Ok(Answer(WorkerPage { workers: page.rows.iter().map(Worker::from).collect(), next_cursor: page.next }))
}

/// Get one worker.
#[utoipa::path(get, operation_id = "get_worker", path = "/v1/workers/{name}", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, description = "The worker.", body = Worker), OneProblems))]
pub(super) async fn get(
    State(service): State<Service>,
    Id(WorkerName(name)): Id<WorkerName>,
) -> Result<Answer<Worker>, Rejection> {
    Ok(Answer(Worker::from(&service.worker(&name).await?)))
}

/// Give a worker no new tasks; it finishes those that it holds.
#[utoipa::path(post, operation_id = "drain_worker", path = "/v1/workers/{name}/drain", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, description = "The worker.", body = Worker), OneProblems))]
pub(super) async fn drain(
    State(service): State<Service>,
    Id(WorkerName(name)): Id<WorkerName>,
) -> Result<Answer<Worker>, Rejection> {
    Ok(Answer(Worker::from(&service.admit(name, Admission::Draining).await?)))
}

/// Give a worker new tasks again.
#[utoipa::path(post, operation_id = "undrain_worker", path = "/v1/workers/{name}/undrain", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, description = "The worker.", body = Worker), OneProblems))]
pub(super) async fn undrain(
    State(service): State<Service>,
    Id(WorkerName(name)): Id<WorkerName>,
) -> Result<Answer<Worker>, Rejection> {
    Ok(Answer(Worker::from(&service.admit(name, Admission::Open).await?)))
}
