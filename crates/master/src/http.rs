//! The HTTP interface: handlers that translate, and nothing else.

mod extract;
mod health;
mod host;
mod jobs;
mod metrics;
mod openapi;
mod problem;
mod query;
mod submission;
mod tasks;
mod trace;
mod workers;

use std::net::SocketAddr;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn;
use tokio::net::TcpListener;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Auth;
use crate::service::Service;
use problem::Rejection;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Sortie",
        description = "Runs commands on a fleet of machines.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(crate::api::Problem, crate::api::FieldProblem))
)]
struct Document;

/// Serves HTTP on `listener` until the master stops.
pub(crate) async fn serve(listener: TcpListener, service: Service, auth: Auth) -> std::io::Result<()> {
    let stop = service.stopping().clone();
    let router = match auth {
        Auth::Loopback => router(service).layer(from_fn(host::loopback_only)),
        Auth::None => router(service),
    };
    let app = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// The OpenAPI 3.1 document of the HTTP interface.
#[must_use]
pub fn openapi() -> serde_json::Value {
    openapi::refine(documented().into_openapi())
}

fn router(service: Service) -> Router {
    let (router, document) = documented().split_for_parts();
    let document = openapi::refine(document);
    router
        .route("/openapi.json", axum::routing::get(async || axum::Json(document)))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(trace::span))
        .with_state(service)
}

fn documented() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::submit_short))
        .routes(routes!(tasks::submit, tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::output))
        .routes(routes!(tasks::why))
        .routes(routes!(tasks::cancel))
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
        .routes(routes!(workers::list))
        .routes(routes!(workers::get))
        .routes(routes!(workers::drain))
        .routes(routes!(workers::undrain))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
}

async fn unknown_route(uri: Uri) -> Rejection {
    Rejection::new(404, "not_found", format!("there is nothing at {}; see /openapi.json", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Rejection {
    Rejection::new(405, "wrong_method", format!("{} cannot be asked to {method}; see /openapi.json", uri.path()))
}
