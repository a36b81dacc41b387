//! Liveness and readiness.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{ReadProblems, Rejection};
use crate::service::Service;

/// A master that is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`; a master that is not answers with a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It is well.", body = Health)))]
pub(super) async fn live() -> Answer<Health> {
    Answer(Health { status: "ok" })
}

/// Whether the master takes work: the scheduler and the store answer.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, description = "It is well.", body = Health), ReadProblems))]
pub(super) async fn ready(State(service): State<Service>) -> Result<Answer<Health>, Rejection> {
    match service.ready().await {
        Ok(()) => Ok(Answer(Health { status: "ok" })),
        Err(error) => Err(Rejection::new(503, "not_ready", error.to_string())),
    }
}
