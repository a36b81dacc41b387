//! The span of a request, in the trace that its `traceparent` names.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use sortie_wire::trace;
use tracing::Instrument as _;

/// Handles a request in a span of its own.
pub(super) async fn span(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let method = request.method();
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    if let Some(parent) = incoming(request.headers()) {
        trace::set_parent(&span, parent);
    }
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// The trace that a submission belongs to: that of the request's span, or without a tracer the client's own.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    trace::current().or_else(|| trace::traceparent(&trace::context(incoming(headers)?)))
}

fn incoming(headers: &HeaderMap) -> Option<&str> {
    headers.get(trace::TRACEPARENT).and_then(|value| value.to_str().ok())
}
