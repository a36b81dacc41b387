//! The gRPC interface: workers and clients, with health and reflection.

mod node;
mod status;
mod task;

use std::time::Duration;

use sortie_wire::pb::node_service_server::NodeServiceServer;
use sortie_wire::pb::task_service_server::TaskServiceServer;
use sortie_wire::{MAX_MESSAGE_BYTES, pb, trace};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_reflection::server::Builder as Reflection;

use crate::service::Service;
use node::Node;
use task::Tasks;

/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves gRPC on `listener` until the master stops.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    version: String,
    lease: Duration,
) -> std::io::Result<()> {
    let stop = service.stopping().clone();
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<NodeServiceServer<Node>>().await;
    health.set_serving::<TaskServiceServer<Tasks>>().await;
    let nodes = NodeServiceServer::new(Node::new(service.clone(), version, lease))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let tasks = TaskServiceServer::new(Tasks::new(service))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .trace_fn(span)
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(std::io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(std::io::Error::other)?)
        .add_service(nodes)
        .add_service(tasks)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
        .map_err(std::io::Error::other)
}

fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The span of a call, in the trace that its `traceparent` names.
fn span(request: &tonic::codegen::http::Request<()>) -> tracing::Span {
    let method = request.uri().path().trim_start_matches('/');
    let span = tracing::info_span!("call", otel.name = method, otel.kind = "server", rpc.system = "grpc");
    if let Some(parent) = request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok()) {
        trace::set_parent(&span, parent);
    }
    span
}
