//! Logs and traces.
//!
//! Logs go to standard error: for people on a terminal, JSON otherwise, filtered by `RUST_LOG`. Traces go to a
//! collector by OTLP over gRPC if an endpoint is set, by the standard `OTEL_*` variables.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::{Event, Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::exit::{Failure, Result};
use crate::settings::env::Environment;
use crate::talk;

/// How long the last spans may take to reach the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The variables that name a collector for traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The variables that choose how it is spoken to; the first that is set counts.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// What is logged unless `RUST_LOG` says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Logs {
    /// What a service does.
    Info,
    /// What a person should know.
    Warn,
}

/// The export of traces, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

/// Starts to log.
///
/// # Errors
/// When `RUST_LOG` cannot be read.
pub(crate) fn log(environment: &Environment, logs: Logs) -> Result<()> {
    install(environment, logs, None)
}

/// Starts to log, and to export traces as `service` if a collector is named; call it in the runtime that exports.
///
/// # Errors
/// When `RUST_LOG` or the collector's settings cannot be read.
pub(crate) fn log_and_trace(environment: &Environment, logs: Logs, service: &'static str) -> Result<Traces> {
    let provider = provider(environment, service)?;
    let tracer = provider.as_ref().map(|provider| provider.tracer("sortie"));
    install(environment, logs, tracer)?;
    if let Some(provider) = &provider {
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(provider.clone());
    }
    Ok(Traces(provider))
}

impl Traces {
    /// Exports what is left. It blocks; a collector that does not answer gets a few seconds.
    pub(crate) fn flush(self) {
        let flushed = self.0.map(|provider| provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Some(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn install(environment: &Environment, logs: Logs, tracer: Option<Tracer>) -> Result<()> {
    let directives = environment.text("RUST_LOG").unwrap_or(logs.directives());
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::usage(format!("RUST_LOG cannot be `{directives}`: {error}")))?;
    // Spans of libraries are no business of a task's trace, and what is exported does not depend on what is logged.
    let ours = Targets::new().with_target("sortie", Level::INFO);
    let traces = tracer.map(|tracer| span_layer(tracer).with_filter(ours));
    let subscriber = Registry::default().with(traces).with(log_layer().with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| Failure::internal(error.to_string()))
}

/// Spans say what was done and for how long; the line of code and the thread would be most of their bytes.
fn span_layer<S: Subscriber + for<'a> LookupSpan<'a>>(tracer: Tracer) -> OpenTelemetryLayer<S, Tracer> {
    OpenTelemetryLayer::new(tracer).with_location(false).with_threads(false).with_tracked_inactivity(false)
}

fn log_layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        return layer.with_ansi(talk::colours_on_stderr()).boxed();
    }
    let json = Format::default().json().flatten_event(true).with_current_span(false);
    layer.with_ansi(false).fmt_fields(JsonFields::new()).event_format(WithTraceId(json)).boxed()
}

/// A JSON line that begins with the id of the trace that the event belongs to, if it belongs to one.
struct WithTraceId(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTraceId
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let trace = Context::map_current(|context| context.span().span_context().clone());
        match line.strip_prefix('{') {
            Some(rest) if trace.is_valid() => write!(writer, "{{\"trace_id\":\"{}\",{rest}", trace.trace_id()),
            _ => writer.write_str(&line),
        }
    }
}

impl Logs {
    fn directives(self) -> &'static str {
        match self {
            Logs::Info => "info",
            Logs::Warn => "warn",
        }
    }
}

/// The exporter, if a collector is named and nothing forbids it.
fn provider(environment: &Environment, service: &'static str) -> Result<Option<SdkTracerProvider>> {
    if !exports(environment) {
        return Ok(None);
    }
    check_protocol(environment)?;
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build();
    let exporter = exporter.map_err(|error| Failure::usage(format!("traces cannot be exported: {error}")))?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(environment, service));
    Ok(Some(provider.build()))
}

fn exports(environment: &Environment) -> bool {
    let named = ENDPOINTS.iter().any(|name| environment.text(name).is_some_and(|endpoint| !endpoint.is_empty()));
    let disabled = environment.text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    named && !disabled && environment.text("OTEL_TRACES_EXPORTER") != Some("none")
}

fn check_protocol(environment: &Environment) -> Result<()> {
    let chosen = PROTOCOLS.iter().find(|name| environment.text(name).is_some_and(|protocol| !protocol.is_empty()));
    match chosen.and_then(|name| Some((name, environment.text(name)?))) {
        Some((name, protocol)) if protocol != "grpc" => Err(Failure::usage(format!(
            "{name} is `{protocol}`, but traces are exported by `grpc` only; unset it, and name the collector's gRPC \
             port, usually 4317"
        ))),
        _ => Ok(()),
    }
}

/// What the spans belong to. The SDK reads the standard variables itself; without them it knows no good name.
fn resource(environment: &Environment, service: &'static str) -> Resource {
    let attributes = environment.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named = attributes.split(',').any(|attribute| attribute.trim().starts_with("service.name="));
    let named = named || environment.text("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let resource = Resource::builder();
    if named { resource.build() } else { resource.with_service_name(service).build() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_exported_if_a_collector_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        assert!(!exports(&Environment::default()));
        assert!(!exports(&Environment::from([("OTEL_EXPORTER_OTLP_ENDPOINT", "")])));
        assert!(exports(&Environment::from([endpoint])));
        assert!(exports(&Environment::from([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4317")])));
        assert!(!exports(&Environment::from([endpoint, ("OTEL_SDK_DISABLED", "true")])));
        assert!(!exports(&Environment::from([endpoint, ("OTEL_TRACES_EXPORTER", "none")])));
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(check_protocol(&Environment::default()).is_ok());
        assert!(check_protocol(&Environment::from([("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])).is_ok());
        let http = Environment::from([("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert_eq!(check_protocol(&http).expect_err("a failure").code(), 64);
    }
}
