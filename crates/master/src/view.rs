//! What is on record, as the HTTP interface shows it.

mod spec;
mod why;
mod words;

use std::time::{Duration, UNIX_EPOCH};

use sortie_engine::{Admission, Attempt, Ended, Link, StateName, TaskState, Time, Usage};
use sortie_store::{JobRow, TaskRow, WorkerRow};

use crate::api;

pub(crate) use spec::draft;
pub(crate) use why::{ended_explanation, explanation};

/// A moment as RFC 3339 with milliseconds.
pub(crate) fn time(time: Time) -> String {
    // The latest moment that RFC 3339 can write is the last of the year 9999.
    const LATEST_MS: u64 = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time.0.min(LATEST_MS))).to_string()
}

impl From<&TaskRow> for api::Task {
    fn from(row: &TaskRow) -> Self {
        let attempts = attempts(row);
        let (ended_at, outcome) = match &row.state {
            TaskState::Queued | TaskState::Again(_) | TaskState::Active(_) => (None, None),
            TaskState::Ended(ended) => (Some(time(ended.at)), Some((&ended.outcome).into())),
            TaskState::EndedInQueue { at, outcome } => (Some(time(*at)), Some(outcome.into())),
        };
        api::Task {
            id: row.id.to_string(),
            job: row.id.job.to_string(),
            index: row.id.index,
            state: row.state.name().into(),
            outcome,
            spec: row.job.spec().into(),
            submitted_at: time(row.job.submitted),
            started_at: attempts.last().and_then(|attempt| attempt.started_at.clone()),
            ended_at,
            not_before: not_before(&row.state).map(time),
            attempts,
        }
    }
}

/// Every attempt at a task, the oldest first: those on record as past, and the one that its state tells of.
fn attempts(row: &TaskRow) -> Vec<api::Attempt> {
    let worker = row.worker.as_deref().unwrap_or_default();
    let last = match &row.state {
        TaskState::Queued | TaskState::Again(_) | TaskState::EndedInQueue { .. } => None,
        TaskState::Active(active) => Some(begun(&active.attempt, active.started(), worker)),
        TaskState::Ended(last) => Some(ended(last, worker)),
    };
    let past = row.attempts.iter().map(|past| ended(&past.ended, &past.worker));
    past.chain(last).collect()
}

fn begun(attempt: &Attempt, started: Option<Time>, worker: &str) -> api::Attempt {
    api::Attempt {
        number: attempt.number,
        worker: worker.to_owned(),
        assigned_at: time(attempt.assigned),
        started_at: started.map(time),
        ended_at: None,
        outcome: None,
        usage: None,
    }
}

fn ended(ended: &Ended, worker: &str) -> api::Attempt {
    api::Attempt {
        ended_at: Some(time(ended.at)),
        outcome: Some((&ended.outcome).into()),
        usage: ended.usage.as_ref().map(api::Usage::from),
        ..begun(&ended.attempt, ended.started, worker)
    }
}

/// Until when a task is held back.
fn not_before(state: &TaskState) -> Option<Time> {
    match state {
        TaskState::Again(again) => Some(again.not_before),
        TaskState::Queued | TaskState::Active(_) | TaskState::Ended(_) | TaskState::EndedInQueue { .. } => None,
    }
}

impl From<&Usage> for api::Usage {
    fn from(usage: &Usage) -> Self {
        api::Usage { cpu: spec::span(usage.cpu), max_rss_bytes: usage.max_rss, killed: usage.killed }
    }
}

impl From<&JobRow> for api::Job {
    fn from(row: &JobRow) -> Self {
        let counted = StateName::ALL.into_iter().map(|state| (state.to_string(), row.counts.of(state)));
        api::Job {
            id: row.job.id.to_string(),
            state: row.counts.state().into(),
            count: row.job.submission.count,
            counts: counted.filter(|(_, tasks)| *tasks > 0).collect(),
            spec: row.job.spec().into(),
            submitted_at: time(row.job.submitted),
            ended_at: row.ended.map(time),
        }
    }
}

impl From<&WorkerRow> for api::Worker {
    fn from(row: &WorkerRow) -> Self {
        let (state, since) = match row.worker.link {
            Link::Joining { .. } => (api::WorkerState::Joining, None),
            Link::Connected { since, .. } => (api::WorkerState::Connected, Some(since)),
            Link::Leaving { since, .. } => (api::WorkerState::Leaving, Some(since)),
            Link::Unreachable { since, .. } => (api::WorkerState::Unreachable, Some(since)),
            Link::Gone { since } => (api::WorkerState::Gone, Some(since)),
        };
        let hello = &row.worker.hello;
        api::Worker {
            name: hello.name.clone(),
            state,
            since: since.map(time),
            draining: row.worker.admission == Admission::Draining,
            labels: hello.labels.clone(),
            slots: hello.slots,
            slots_used: row.used,
            tasks: row.running,
            version: hello.version.clone(),
        }
    }
}
