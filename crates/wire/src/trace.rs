//! The trace context, carried as a W3C `traceparent` from a request to its command.

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The name of the header, and in capitals of the variable, that carries the context.
pub const TRACEPARENT: &str = "traceparent";

/// The longest `traceparent` that is looked at, in bytes; version 00 has 55.
const MAX_TRACEPARENT_BYTES: usize = 128;

/// The context of the span that is current, if it belongs to a trace.
#[must_use]
pub fn current() -> Option<String> {
    traceparent(&tracing::Span::current().context())
}

/// A context as `traceparent`, if it belongs to a trace.
#[must_use]
pub fn traceparent(context: &Context) -> Option<String> {
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = BTreeCarrier::default();
    propagator().inject_context(context, &mut carrier);
    carrier.0.remove(TRACEPARENT)
}

/// The context that a `traceparent` stands for; an empty one if it is malformed.
#[must_use]
pub fn context(traceparent: &str) -> Context {
    let mut carrier = BTreeCarrier::default();
    if traceparent.len() <= MAX_TRACEPARENT_BYTES {
        carrier.0.insert(TRACEPARENT.to_owned(), traceparent.to_owned());
    }
    propagator().extract_with_context(&Context::new(), &carrier)
}

/// Makes the span that `traceparent` stands for the parent of `span`.
pub fn set_parent(span: &tracing::Span, traceparent: &str) {
    // The only error says that no tracer listens, which is no error here.
    _ = span.set_parent(context(traceparent));
}

fn propagator() -> opentelemetry_sdk::propagation::TraceContextPropagator {
    opentelemetry_sdk::propagation::TraceContextPropagator::new()
}

#[derive(Default)]
struct BTreeCarrier(BTreeMap<String, String>);

impl opentelemetry::propagation::Injector for BTreeCarrier {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

impl opentelemetry::propagation::Extractor for BTreeCarrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
