//! The master's spans of a task's trace: its wait in the queue, the order to its worker, and its run.
//!
//! They begin and end in different batches, so they are made when they end, with the times on record.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use sortie_engine::{AttemptId, Job, Record, Stage, TaskId, Time};
use sortie_wire::trace;

/// The contexts of the live tasks that belong to a trace.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    live: HashMap<TaskId, Context>,
}

/// A span that has come to its end.
#[derive(Debug)]
pub(crate) struct Span {
    task: TaskId,
    name: &'static str,
    from: Time,
    until: Time,
    last: bool,
    outcome: Option<&'static str>,
}

impl Spans {
    /// Ends the span of an attempt's wait; the `traceparent` that its worker goes on from.
    pub(crate) fn start(&mut self, attempt: AttemptId, job: &Job, now: Time) -> Option<String> {
        let traceparent = job.submission.traceparent.as_deref()?;
        let parent = trace::context(traceparent);
        let span =
            Span { task: attempt.task, name: "queue", from: job.submitted, until: now, last: false, outcome: None };
        let context = emit(&span, &parent);
        // Without a tracer the trace passes through unchanged.
        let context = if context.span().span_context().is_valid() { context } else { parent };
        self.live.insert(attempt.task, context.clone());
        trace::traceparent(&context)
    }

    /// The span that `record` ends, if its task belongs to a trace.
    pub(crate) fn of(&self, record: &Record) -> Option<Span> {
        let span = |task: TaskId, name, from, until| Span { task, name, from, until, last: false, outcome: None };
        match record {
            Record::Moved(task, active) => match active.stage {
                Stage::Running { started } => Some(span(*task, "order", active.attempt.assigned, started)),
                Stage::Assigned | Stage::Unreachable { .. } | Stage::Cancelling { .. } => None,
            },
            Record::Ended(task, ended) => {
                let from = ended.started.unwrap_or(ended.attempt.assigned);
                let outcome = Some(ended.outcome.state().as_str());
                Some(Span { last: true, outcome, ..span(*task, "run", from, ended.at) })
            }
            Record::Submitted(_)
            | Record::Placed(..)
            | Record::EndedInQueue { .. }
            | Record::Counted { .. }
            | Record::Worker(_) => None,
        }
    }

    /// Ends a span.
    pub(crate) fn end(&mut self, span: Span) {
        let context = if span.last { self.live.remove(&span.task) } else { self.live.get(&span.task).cloned() };
        if let Some(context) = context {
            emit(&span, &context);
        }
    }
}

/// Hands a finished span to the tracer, if one listens; its context.
fn emit(span: &Span, parent: &Context) -> Context {
    let tracer = opentelemetry::global::tracer("sortie");
    let builder = tracer
        .span_builder(span.name)
        .with_kind(SpanKind::Internal)
        .with_start_time(system_time(span.from))
        .with_attributes([KeyValue::new("sortie.task.id", span.task.to_string())]);
    let mut made = tracer.build_with_context(builder, parent);
    if let Some(outcome) = span.outcome {
        made.set_attribute(KeyValue::new("sortie.task.state", outcome));
    }
    made.end_with_timestamp(system_time(span.until));
    parent.with_span(made)
}

fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.0)
}
