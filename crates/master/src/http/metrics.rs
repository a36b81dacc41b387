//! Metrics for Prometheus.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem::{ReadProblems, Rejection};
use crate::service::Service;

/// The format, as Prometheus asks for it (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the master counts, for Prometheus.
#[utoipa::path(get, operation_id = "metrics", path = "/metrics", tag = "health",
    responses((status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text"), ReadProblems))]
pub(super) async fn metrics(State(service): State<Service>) -> Result<Response, Rejection> {
    let metrics = service.metrics().await.map_err(|error| Rejection::new(503, "not_ready", error.to_string()))?;
    let text = metrics.text().map_err(|error| Rejection::new(500, "internal", error.to_string()))?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
