//! What is on record, as the HTTP interface shows it.

use std::time::{Duration, UNIX_EPOCH};

use sortie_engine::{
    self as engine, Admission, Command, Draft, FieldError, Link, QueueOutcome, StateName, TaskSpec, TaskState, Time,
    Why,
};
use sortie_store::{JobRow, TaskRow, WorkerRow};

use crate::api;

/// A moment as RFC 3339 with milliseconds.
pub(crate) fn time(time: Time) -> String {
    // The latest moment that RFC 3339 can write is the last of the year 9999.
    const LATEST_MS: u64 = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time.0.min(LATEST_MS))).to_string()
}

/// The draft that a client's spec stands for; the engine checks the rest.
pub(crate) fn draft(spec: api::Spec) -> Result<Draft, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut duration = |pointer: &str, text: Option<String>| {
        let parsed = text.map(|text| humantime::parse_duration(&text)).transpose();
        parsed.unwrap_or_else(|error| {
            errors.push(FieldError::new(pointer, format!("is not a duration such as 90s, 5m or 1h30m: {error}")));
            None
        })
    };
    let draft = Draft {
        timeout: duration("/timeout", spec.timeout),
        kill_grace: duration("/kill_grace", spec.kill_grace),
        queue_timeout: duration("/queue_timeout", spec.queue_timeout),
        cmd: spec.cmd,
        argv: spec.argv,
        script: spec.script,
        name: spec.name,
        env: spec.env,
        cwd: spec.cwd,
        stdin: spec.stdin,
        priority: spec.priority,
        slots: spec.slots,
        selector: spec.selector,
        labels: spec.labels,
    };
    match errors.is_empty() {
        true => Ok(draft),
        // All problems at once: those of the other fields too.
        false => Err([errors, draft.check().err().unwrap_or_default()].concat()),
    }
}

impl From<&TaskSpec> for api::Spec {
    fn from(spec: &TaskSpec) -> Self {
        let duration = |duration: Duration| Some(humantime::format_duration(duration).to_string());
        let (mut cmd, mut argv, mut script) = (None, None, None);
        match spec.command.clone() {
            Command::Line(line) => cmd = Some(line),
            Command::Argv(arguments) => argv = Some(arguments),
            Command::Script(text) => script = Some(text),
        }
        let selector = &spec.needs.selector;
        api::Spec {
            cmd,
            argv,
            script,
            name: spec.name.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            stdin: spec.stdin.clone(),
            timeout: duration(spec.timeout),
            kill_grace: duration(spec.kill_grace),
            queue_timeout: duration(spec.queue_timeout),
            priority: Some(spec.priority),
            slots: Some(spec.needs.slots),
            selector: (!selector.is_empty()).then(|| selector.to_string()),
            labels: spec.labels.clone(),
        }
    }
}

impl From<&TaskRow> for api::Task {
    fn from(row: &TaskRow) -> Self {
        let attempt = attempt(&row.state, row.worker.as_deref().unwrap_or_default());
        let (ended_at, outcome) = match &row.state {
            TaskState::Queued | TaskState::Active(_) => (None, None),
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
            started_at: attempt.as_ref().and_then(|attempt| attempt.started_at.clone()),
            ended_at,
            attempts: attempt.into_iter().collect(),
        }
    }
}

fn attempt(state: &TaskState, worker: &str) -> Option<api::Attempt> {
    let (attempt, started, ended) = match state {
        TaskState::Queued | TaskState::EndedInQueue { .. } => return None,
        TaskState::Active(active) => (&active.attempt, active.started(), None),
        TaskState::Ended(ended) => (&ended.attempt, ended.started, Some(ended)),
    };
    Some(api::Attempt {
        number: attempt.number,
        worker: worker.to_owned(),
        assigned_at: time(attempt.assigned),
        started_at: started.map(time),
        ended_at: ended.map(|ended| time(ended.at)),
        outcome: ended.map(|ended| (&ended.outcome).into()),
    })
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

/// Why a live task is not running, in a sentence too.
pub(crate) fn explanation(row: &TaskRow, found: &engine::Explanation) -> api::Explanation {
    let worker = row.worker.as_deref().unwrap_or("a worker");
    let (reason, detail) = match found.why {
        Why::Held => (api::Reason::Held, format!("it is {}: {worker} holds it", found.state)),
        Why::NoWorker => (api::Reason::NoWorker, "no worker is connected; start one".to_owned()),
        Why::NoMatch => (
            api::Reason::NoMatch,
            format!("none of the {} connected workers has the labels that its selector asks for", found.connected),
        ),
        Why::TooSmall => {
            (api::Reason::TooSmall, format!("none of the {} matching workers has that many slots", found.matching))
        }
        Why::Draining => {
            (api::Reason::Draining, format!("all of the {} workers that could run it are draining", found.large_enough))
        }
        Why::Busy => (
            api::Reason::Busy,
            format!("all of the {} workers that could run it are busy; {} tasks go first", found.open, found.ahead),
        ),
    };
    api::Explanation {
        id: row.id.to_string(),
        state: found.state.into(),
        reason,
        detail,
        ahead: found.ahead,
        workers_connected: found.connected,
        workers_matching: found.matching,
        workers_large_enough: found.large_enough,
        workers_open: found.open,
    }
}

/// Why a task that has ended is not running.
pub(crate) fn ended_explanation(row: &TaskRow) -> api::Explanation {
    let state = row.state.name();
    api::Explanation {
        id: row.id.to_string(),
        state: state.into(),
        reason: api::Reason::Ended,
        detail: format!("it has ended: {state}"),
        ahead: 0,
        workers_connected: 0,
        workers_matching: 0,
        workers_large_enough: 0,
        workers_open: 0,
    }
}

impl From<StateName> for api::State {
    fn from(state: StateName) -> Self {
        match state {
            StateName::Queued => api::State::Queued,
            StateName::Assigned => api::State::Assigned,
            StateName::Running => api::State::Running,
            StateName::Unreachable => api::State::Unreachable,
            StateName::Cancelling => api::State::Cancelling,
            StateName::Succeeded => api::State::Succeeded,
            StateName::Failed => api::State::Failed,
            StateName::TimedOut => api::State::TimedOut,
            StateName::Cancelled => api::State::Cancelled,
            StateName::Lost => api::State::Lost,
            StateName::Expired => api::State::Expired,
        }
    }
}

impl From<&engine::Outcome> for api::Outcome {
    fn from(outcome: &engine::Outcome) -> Self {
        match outcome {
            engine::Outcome::Exited { code } => api::Outcome::Exited { code: *code },
            engine::Outcome::Signaled { signal } => api::Outcome::Signaled { signal: *signal },
            engine::Outcome::CouldNotStart { errno, detail } => {
                api::Outcome::CouldNotStart { errno: *errno, detail: detail.clone() }
            }
            engine::Outcome::TimedOut => api::Outcome::TimedOut,
            engine::Outcome::Cancelled { by, confirmed } => {
                api::Outcome::Cancelled { by: by.clone(), confirmed: *confirmed }
            }
            engine::Outcome::Lost { started, reason } => {
                api::Outcome::Lost { started: (*started).into(), reason: (*reason).into() }
            }
        }
    }
}

impl From<&QueueOutcome> for api::Outcome {
    fn from(outcome: &QueueOutcome) -> Self {
        match outcome {
            QueueOutcome::Cancelled { by } => api::Outcome::Cancelled { by: by.clone(), confirmed: true },
            QueueOutcome::Expired => api::Outcome::Expired,
        }
    }
}

impl From<engine::Started> for api::Started {
    fn from(started: engine::Started) -> Self {
        match started {
            engine::Started::No => api::Started::No,
            engine::Started::Yes => api::Started::Yes,
            engine::Started::Unknown => api::Started::Unknown,
        }
    }
}

impl From<engine::LostReason> for api::LostReason {
    fn from(reason: engine::LostReason) -> Self {
        match reason {
            engine::LostReason::LeaseEnded => api::LostReason::LeaseEnded,
            engine::LostReason::WorkerStopped => api::LostReason::WorkerStopped,
            engine::LostReason::Overdue => api::LostReason::Overdue,
        }
    }
}
