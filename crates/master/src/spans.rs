//! The master's spans of a task's trace: its wait in the queue, the order to its worker, and its run.
//!
//! They begin and end in different batches, so they are made when they end, with the times on record.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use sortie_engine::{AttemptId, Ended, Job, Record, Stage, TaskId, Time};
use sortie_wire::trace;

/// What is remembered of the live tasks that belong to a trace.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// The contexts of their live attempts.
    live: HashMap<AttemptId, Context>,
    /// Since when they wait for another attempt.
    again: HashMap<TaskId, Time>,
}

/// A span that has come to its end.
#[derive(Debug)]
pub(crate) struct Span {
    attempt: AttemptId,
    name: &'static str,
    from: Time,
    until: Time,
    then: Then,
    outcome: Option<&'static str>,
}

/// What follows a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The attempt goes on.
    More,
    /// The task waits for another attempt.
    Again,
    /// The task has ended.
    Nothing,
}

impl Spans {
    /// Ends the span of an attempt's wait; the `traceparent` that its worker goes on from.
    pub(crate) fn start(&mut self, attempt: AttemptId, job: &Job, now: Time) -> Option<String> {
        let traceparent = job.submission.traceparent.as_deref()?;
        let parent = trace::context(traceparent);
        let from = self.again.remove(&attempt.task).unwrap_or(job.submitted);
        let span = Span { attempt, name: "queue", from, until: now, then: Then::More, outcome: None };
        let context = emit(&span, &parent);
        // Without a tracer the trace passes through unchanged.
        let context = if context.span().span_context().is_valid() { context } else { parent };
        self.live.insert(attempt, context.clone());
        trace::traceparent(&context)
    }

    /// The span that `record` ends, if its task belongs to a trace.
    pub(crate) fn of(&mut self, record: &Record) -> Option<Span> {
        match record {
            Record::Moved(task, active) => match active.stage {
                Stage::Running { started } => Some(Span {
                    attempt: task.attempt(active.attempt.number),
                    name: "order",
                    from: active.attempt.assigned,
                    until: started,
                    then: Then::More,
                    outcome: None,
                }),
                Stage::Assigned | Stage::Unreachable { .. } | Stage::Cancelling { .. } => None,
            },
            Record::Ended(task, ended) => Some(run(*task, ended, Then::Nothing)),
            Record::Retried(task, ended, _) => Some(run(*task, ended, Then::Again)),
            Record::GivenUp { task, .. } => {
                self.again.remove(task);
                None
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
        let context = match span.then {
            Then::More => self.live.get(&span.attempt).cloned(),
            Then::Again | Then::Nothing => self.live.remove(&span.attempt),
        };
        let Some(context) = context else { return };
        emit(&span, &context);
        match span.then {
            Then::More => {}
            Then::Again => _ = self.again.insert(span.attempt.task, span.until),
            Then::Nothing => _ = self.again.remove(&span.attempt.task),
        }
    }
}

fn run(task: TaskId, ended: &Ended, then: Then) -> Span {
    Span {
        attempt: task.attempt(ended.attempt.number),
        name: "run",
        from: ended.started.unwrap_or(ended.attempt.assigned),
        until: ended.at,
        then,
        outcome: Some(ended.outcome.state().as_str()),
    }
}

/// Hands a finished span to the tracer, if one listens; its context.
fn emit(span: &Span, parent: &Context) -> Context {
    let tracer = opentelemetry::global::tracer("sortie");
    let builder = tracer
        .span_builder(span.name)
        .with_kind(SpanKind::Internal)
        .with_start_time(system_time(span.from))
        .with_attributes([KeyValue::new("sortie.task.id", span.attempt.task.to_string())]);
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
