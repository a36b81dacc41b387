//! A collector of traces, as OTLP over gRPC wants it, that remembers the spans.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as ProtoSpan};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A collector.
pub(crate) struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is for it.
    pub(crate) endpoint: String,
    spans: Spans,
}

/// A span, its ids in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Its parent's id; empty if it has none.
    pub(crate) parent: String,
}

/// The spans so far.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts a collector, which ends with the test's runtime.
    pub(crate) async fn start() -> Result<Collector> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Spans::default();
        let service = TraceServiceServer::new(spans.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Collector { endpoint, spans })
    }

    /// The spans of a trace.
    pub(crate) fn trace(&self, trace: &str) -> Trace {
        let spans = self.spans.0.lock().unwrap_or_else(PoisonError::into_inner);
        Trace(spans.iter().filter(|span| span.trace == trace).cloned().collect())
    }
}

/// The spans of one trace.
#[derive(Debug)]
pub(crate) struct Trace(Vec<Span>);

impl Trace {
    /// The one span of this name.
    pub(crate) fn one(&self, name: &str) -> Result<&Span> {
        let mut named = self.0.iter().filter(|span| span.name == name);
        let one = named.next().filter(|_| named.next().is_none());
        one.with_context(|| format!("one span {name} in {self:#?}"))
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let exported = request.into_inner().resource_spans.into_iter().flat_map(spans);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(exported);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(resource: ResourceSpans) -> Vec<Span> {
    let service = service(&resource);
    let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| read(span, &service)).collect()
}

fn service(resource: &ResourceSpans) -> String {
    let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
    let mut named = attributes.filter(|attribute| attribute.key == "service.name");
    named.next().map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default()
}

fn read(span: ProtoSpan, service: &str) -> Span {
    Span {
        service: service.to_owned(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
