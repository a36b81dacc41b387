//! The clients' protocol: drafts in, tasks and jobs out.

use std::time::Duration;

use sortie_engine::{
    Attempt, Captured, Command, Counts, Ended, Job, LostReason, OnLost, Outcome, QueueOutcome, Retry, Started,
    StateName, TaskId, TaskSpec, TaskState, Time,
};

use crate::draft::{Draft, FieldError, RetryDraft};
use crate::node::usage_to_pb;
use crate::pb;
use crate::{Malformed, duration_to_pb};

/// Reads a spec as the client wrote it; [`Draft::check`] checks it.
///
/// # Errors
/// When a duration is negative or out of range.
pub fn draft_from_pb(spec: pb::TaskSpec) -> Result<Draft, FieldError> {
    let (mut cmd, mut argv, mut script) = (None, None, None);
    match spec.command {
        Some(pb::task_spec::Command::Cmd(line)) => cmd = Some(line),
        Some(pb::task_spec::Command::Argv(given)) => argv = Some(given.arguments),
        Some(pb::task_spec::Command::Script(text)) => script = Some(text),
        None => {}
    }
    Ok(Draft {
        cmd,
        argv,
        script,
        name: spec.name,
        env: spec.env,
        cwd: spec.cwd,
        stdin: spec.stdin,
        timeout: duration_from_pb("/timeout", spec.timeout)?,
        kill_grace: duration_from_pb("/kill_grace", spec.kill_grace)?,
        queue_timeout: duration_from_pb("/queue_timeout", spec.queue_timeout)?,
        retry: retry_from_pb(spec.retry.unwrap_or_default())?,
        on_lost: on_lost_from_pb(spec.on_lost)?,
        max_lost: spec.max_lost,
        priority: spec.priority,
        slots: spec.slots,
        selector: spec.selector,
        labels: spec.labels,
    })
}

fn retry_from_pb(retry: pb::Retry) -> Result<RetryDraft, FieldError> {
    Ok(RetryDraft {
        count: retry.count,
        backoff: duration_from_pb("/retry/backoff", retry.backoff)?,
        max_backoff: duration_from_pb("/retry/max_backoff", retry.max_backoff)?,
        exit_codes: retry.exit_codes.into_iter().collect(),
    })
}

fn on_lost_from_pb(on_lost: i32) -> Result<Option<OnLost>, FieldError> {
    match pb::OnLost::try_from(on_lost) {
        Ok(pb::OnLost::Unspecified) => Ok(None),
        Ok(pb::OnLost::Retry) => Ok(Some(OnLost::Retry)),
        Ok(pb::OnLost::Fail) => Ok(Some(OnLost::Fail)),
        Err(_) => Err(FieldError::new("/on_lost", "is none that this master knows; give retry or fail")),
    }
}

/// Puts a task into words of the wire; `past` are its attempts before the last, with the names of their workers, and
/// `worker` is the name of the one that holds or held the last.
#[must_use]
pub fn task_to_pb<'a>(
    id: TaskId,
    job: &Job,
    state: &TaskState,
    past: impl IntoIterator<Item = (&'a Ended, &'a str)>,
    worker: Option<&str>,
) -> pb::Task {
    let past = past.into_iter().map(|(ended, worker)| ended_to_pb(ended, worker));
    let attempts: Vec<_> = past.chain(attempt_to_pb(state, worker.unwrap_or_default())).collect();
    let (ended_at, outcome) = match state {
        TaskState::Queued | TaskState::Again(_) | TaskState::Active(_) => (None, None),
        TaskState::Ended(ended) => (Some(ended.at), Some(outcome_to_pb(&ended.outcome))),
        TaskState::EndedInQueue { at, outcome } => (Some(*at), Some(queue_outcome_to_pb(outcome))),
    };
    pb::Task {
        id: id.to_string(),
        job: id.job.to_string(),
        index: id.index,
        state: state_to_pb(state.name()).into(),
        outcome,
        spec: Some(spec_to_pb(job.spec())),
        submitted_at: Some(time_to_pb(job.submitted)),
        started_at: attempts.last().and_then(|attempt| attempt.started_at),
        ended_at: ended_at.map(time_to_pb),
        attempts,
        not_before: not_before(state).map(time_to_pb),
    }
}

/// Puts a job into words of the wire.
#[must_use]
pub fn job_to_pb(job: &Job, counts: &Counts, ended: Option<Time>) -> pb::Job {
    let counted = StateName::ALL.into_iter().map(|state| (state, counts.of(state))).filter(|(_, tasks)| *tasks > 0);
    pb::Job {
        id: job.id.to_string(),
        state: state_to_pb(counts.state()).into(),
        count: job.submission.count,
        counts: counted.map(|(state, tasks)| pb::StateCount { state: state_to_pb(state).into(), tasks }).collect(),
        spec: Some(spec_to_pb(job.spec())),
        submitted_at: Some(time_to_pb(job.submitted)),
        ended_at: ended.map(time_to_pb),
    }
}

/// Puts one stream's output into words of the wire: its bytes in chunks, then the gap if there is one.
pub fn output_to_pb(stream: pb::OutputStream, captured: &Captured) -> impl Iterator<Item = pb::OutputChunk> + '_ {
    let chunk = move |offset: usize, content| pb::OutputChunk {
        stream: stream.into(),
        offset: offset as u64,
        content: Some(content),
    };
    let chunks = captured.bytes.chunks(CHUNK_BYTES).enumerate();
    let data = chunks.map(move |(i, bytes)| chunk(i * CHUNK_BYTES, pb::output_chunk::Content::Data(bytes.to_vec())));
    let gap =
        (captured.dropped > 0).then(|| chunk(captured.bytes.len(), pb::output_chunk::Content::Gap(captured.dropped)));
    data.chain(gap)
}

/// The most bytes of output in one message.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a state's name.
///
/// # Errors
/// When it is none that this build knows.
pub fn state_from_pb(state: i32) -> Result<StateName, Malformed> {
    let found = StateName::ALL.into_iter().find(|name| i32::from(state_to_pb(*name)) == state);
    found.ok_or(Malformed("an unknown state"))
}

/// Reads a moment; what lies before the epoch is its beginning.
#[must_use]
pub fn time_from_pb(time: prost_types::Timestamp) -> Time {
    let ms = i128::from(time.seconds) * 1000 + i128::from(time.nanos / 1_000_000);
    Time(u64::try_from(ms.max(0)).unwrap_or(u64::MAX))
}

fn time_to_pb(time: Time) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(time.0 / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.0 % 1000 * 1_000_000).unwrap_or(0),
    }
}

fn duration_from_pb(pointer: &str, duration: Option<prost_types::Duration>) -> Result<Option<Duration>, FieldError> {
    let parsed = duration.map(Duration::try_from).transpose();
    parsed.map_err(|_| FieldError::new(pointer, "is negative or out of range"))
}

fn spec_to_pb(spec: &TaskSpec) -> pb::TaskSpec {
    let command = match spec.command.clone() {
        Command::Line(line) => pb::task_spec::Command::Cmd(line),
        Command::Argv(arguments) => pb::task_spec::Command::Argv(pb::Argv { arguments }),
        Command::Script(script) => pb::task_spec::Command::Script(script),
    };
    pb::TaskSpec {
        command: Some(command),
        name: spec.name.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        stdin: spec.stdin.clone(),
        timeout: Some(duration_to_pb(spec.timeout)),
        kill_grace: Some(duration_to_pb(spec.kill_grace)),
        queue_timeout: Some(duration_to_pb(spec.queue_timeout)),
        retry: Some(retry_to_pb(&spec.retry)),
        on_lost: on_lost_to_pb(spec.on_lost).into(),
        max_lost: Some(spec.max_lost),
        priority: Some(spec.priority),
        slots: Some(spec.needs.slots),
        selector: Some(spec.needs.selector.to_string()),
        labels: spec.labels.clone(),
    }
}

fn attempt_to_pb(state: &TaskState, worker: &str) -> Option<pb::TaskAttempt> {
    match state {
        TaskState::Queued | TaskState::Again(_) | TaskState::EndedInQueue { .. } => None,
        TaskState::Active(active) => Some(begun_to_pb(&active.attempt, active.started(), worker)),
        TaskState::Ended(ended) => Some(ended_to_pb(ended, worker)),
    }
}

fn begun_to_pb(attempt: &Attempt, started: Option<Time>, worker: &str) -> pb::TaskAttempt {
    pb::TaskAttempt {
        number: attempt.number,
        worker: worker.to_owned(),
        assigned_at: Some(time_to_pb(attempt.assigned)),
        started_at: started.map(time_to_pb),
        ended_at: None,
        outcome: None,
        usage: None,
    }
}

fn ended_to_pb(ended: &Ended, worker: &str) -> pb::TaskAttempt {
    pb::TaskAttempt {
        ended_at: Some(time_to_pb(ended.at)),
        outcome: Some(outcome_to_pb(&ended.outcome)),
        usage: ended.usage.map(usage_to_pb),
        ..begun_to_pb(&ended.attempt, ended.started, worker)
    }
}

/// Until when a task is held back.
fn not_before(state: &TaskState) -> Option<Time> {
    match state {
        TaskState::Again(again) => Some(again.not_before),
        TaskState::Queued | TaskState::Active(_) | TaskState::Ended(_) | TaskState::EndedInQueue { .. } => None,
    }
}

fn retry_to_pb(retry: &Retry) -> pb::Retry {
    pb::Retry {
        count: Some(retry.count),
        backoff: Some(duration_to_pb(retry.backoff)),
        max_backoff: Some(duration_to_pb(retry.max_backoff)),
        exit_codes: retry.exit_codes.iter().copied().collect(),
    }
}

fn on_lost_to_pb(on_lost: OnLost) -> pb::OnLost {
    match on_lost {
        OnLost::Retry => pb::OnLost::Retry,
        OnLost::Fail => pb::OnLost::Fail,
    }
}

fn outcome_to_pb(outcome: &Outcome) -> pb::Outcome {
    let outcome = match outcome {
        Outcome::Exited { code } => pb::outcome::Outcome::Exited(*code),
        Outcome::Signaled { signal } => pb::outcome::Outcome::Signaled(*signal),
        Outcome::OutOfMemory => pb::outcome::Outcome::OutOfMemory(pb::OutOfMemory {}),
        Outcome::CouldNotStart { errno, detail } => {
            pb::outcome::Outcome::CouldNotStart(pb::CouldNotStart { errno: *errno, detail: detail.clone() })
        }
        Outcome::TimedOut => pb::outcome::Outcome::TimedOut(pb::TimedOut {}),
        Outcome::Cancelled { by, confirmed } => {
            pb::outcome::Outcome::Cancelled(pb::Cancelled { by: by.clone(), confirmed: *confirmed })
        }
        Outcome::Lost { started, reason } => pb::outcome::Outcome::Lost(pb::Lost {
            started: started_to_pb(*started).into(),
            reason: reason_to_pb(*reason).into(),
        }),
    };
    pb::Outcome { outcome: Some(outcome) }
}

fn queue_outcome_to_pb(outcome: &QueueOutcome) -> pb::Outcome {
    let outcome = match outcome {
        QueueOutcome::Cancelled { by } => {
            pb::outcome::Outcome::Cancelled(pb::Cancelled { by: by.clone(), confirmed: true })
        }
        QueueOutcome::Expired => pb::outcome::Outcome::Expired(pb::Expired {}),
    };
    pb::Outcome { outcome: Some(outcome) }
}

fn started_to_pb(started: Started) -> pb::HasStarted {
    match started {
        Started::No => pb::HasStarted::No,
        Started::Yes => pb::HasStarted::Yes,
        Started::Unknown => pb::HasStarted::Unknown,
    }
}

fn reason_to_pb(reason: LostReason) -> pb::LostReason {
    match reason {
        LostReason::LeaseEnded => pb::LostReason::LeaseEnded,
        LostReason::WorkerStopped => pb::LostReason::WorkerStopped,
        LostReason::WorkerDied => pb::LostReason::WorkerDied,
        LostReason::OrderLost => pb::LostReason::OrderLost,
        LostReason::Overdue => pb::LostReason::Overdue,
    }
}

fn state_to_pb(state: StateName) -> pb::TaskState {
    match state {
        StateName::Queued => pb::TaskState::Queued,
        StateName::Assigned => pb::TaskState::Assigned,
        StateName::Running => pb::TaskState::Running,
        StateName::Unreachable => pb::TaskState::Unreachable,
        StateName::Cancelling => pb::TaskState::Cancelling,
        StateName::Succeeded => pb::TaskState::Succeeded,
        StateName::Failed => pb::TaskState::Failed,
        StateName::TimedOut => pb::TaskState::TimedOut,
        StateName::Cancelled => pb::TaskState::Cancelled,
        StateName::Lost => pb::TaskState::Lost,
        StateName::Expired => pb::TaskState::Expired,
    }
}
