//! Rows of the tables, to and from the engine's types. Shared by loading and listing, so that a row means one
//! thing.
//!
//! The numbers below are in every database: they are never given another meaning.

use std::time::Duration;

use rusqlite::Row;
use sortie_engine::{
    Active, Admission, Again, Attempt, Ended, Hello, Job, JobId, Link, LostReason, Outcome, QueueOutcome, SessionId,
    Stage, Started, StateName, Submission, Tally, TaskId, Time, Tries, Usage, Worker, WorkerId,
};

use crate::error::{Fault, damaged};
use crate::spec;

// What `active.stage` says.
pub(crate) const ASSIGNED: i64 = 0;
pub(crate) const RUNNING: i64 = 1;
pub(crate) const CANCELLING: i64 = 2;
pub(crate) const UNREACHABLE: i64 = 3;

// What `outcome` says in `ended`, `attempts` and `unplaced`; beside it what `number` and `text` hold.
/// Neither.
const SUCCEEDED: i64 = 0;
/// The exit code.
const EXITED: i64 = 1;
/// The signal.
const SIGNALED: i64 = 2;
/// The errno, and the detail.
const COULD_NOT_START: i64 = 3;
/// Neither.
const TIMED_OUT: i64 = 4;
/// Whether it is confirmed, and who asked.
const CANCELLED: i64 = 5;
/// Whether it had started, and what cut it off.
const LOST: i64 = 6;
/// Neither.
const EXPIRED: i64 = 7;
/// Neither.
const OUT_OF_MEMORY: i64 = 8;

const STARTED: [(i32, Started); 3] = [(0, Started::No), (1, Started::Yes), (2, Started::Unknown)];

const LOST_REASONS: [(&str, LostReason); 5] = [
    ("lease_ended", LostReason::LeaseEnded),
    ("worker_stopped", LostReason::WorkerStopped),
    ("worker_died", LostReason::WorkerDied),
    ("order_lost", LostReason::OrderLost),
    ("overdue", LostReason::Overdue),
];

/// The columns of `jobs` that [`job`] reads, `x` being `specs`.
pub(crate) const JOB: &str = "j.id, j.submitted, j.count, j.slots, j.name, j.labels, j.traceparent, x.spec, \
    j.succeeded, j.failed, j.timed_out, j.cancelled, j.lost, j.expired, j.ended, x.key";
/// The columns of `again` that [`again`] reads.
pub(crate) const AGAIN: &str = "s.job, s.idx, s.attempt, s.failed, s.lost, s.not_before";
/// The columns of `active` that [`active`] reads.
pub(crate) const ACTIVE: &str = "s.job, s.idx, s.attempt, s.worker, s.incarnation, s.assigned, s.failed, s.lost, \
    s.stage, s.started, s.requested, s.by, s.until";
/// The columns of `ended` and `attempts` that [`ended`] reads.
pub(crate) const ENDED: &str = "s.job, s.idx, s.attempt, s.worker, s.incarnation, s.assigned, s.started, s.at, \
    s.outcome, s.number, s.text, s.cpu_us, s.max_rss, s.killed";
/// The columns of `workers` that [`worker`] reads.
pub(crate) const WORKER: &str = "w.id, w.name, w.instance, w.version, w.labels, w.slots, w.incarnation, w.draining, \
    w.link, w.session, w.time, w.until";

/// How an outcome stands in its columns.
#[derive(Debug)]
pub(crate) struct OutcomeColumns<'a> {
    pub(crate) outcome: i64,
    pub(crate) number: Option<i32>,
    pub(crate) text: Option<&'a str>,
}

/// How a stage stands in its columns.
#[derive(Debug)]
pub(crate) struct StageColumns<'a> {
    pub(crate) stage: i64,
    pub(crate) started: Option<i64>,
    pub(crate) requested: Option<i64>,
    pub(crate) by: Option<&'a str>,
    pub(crate) until: Option<i64>,
}

/// A time as a column; the far end of time is all one.
pub(crate) fn ms(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// A job's id as a column; ids begin at 1 and are given one by one.
pub(crate) fn id(job: JobId) -> i64 {
    i64::try_from(job.0).unwrap_or(i64::MAX)
}

/// The stages of a task in `state`.
pub(crate) fn stage_of(state: StateName) -> Option<i64> {
    let stages = [
        (StateName::Assigned, ASSIGNED),
        (StateName::Running, RUNNING),
        (StateName::Unreachable, UNREACHABLE),
        (StateName::Cancelling, CANCELLING),
    ];
    stages.into_iter().find(|(name, _)| *name == state).map(|(_, stage)| stage)
}

/// The outcomes that lead a task that a worker held to `state`.
pub(crate) fn outcomes_of(state: StateName) -> &'static [i64] {
    match state {
        StateName::Queued
        | StateName::Assigned
        | StateName::Running
        | StateName::Unreachable
        | StateName::Cancelling
        | StateName::Expired => &[],
        StateName::Succeeded => &[SUCCEEDED],
        StateName::Failed => &[EXITED, SIGNALED, OUT_OF_MEMORY, COULD_NOT_START],
        StateName::TimedOut => &[TIMED_OUT],
        StateName::Cancelled => &[CANCELLED],
        StateName::Lost => &[LOST],
    }
}

/// The outcome that leads a task that waited to `state`.
pub(crate) fn queue_outcome_of(state: StateName) -> Option<i64> {
    let outcomes = [(StateName::Cancelled, CANCELLED), (StateName::Expired, EXPIRED)];
    outcomes.into_iter().find(|(name, _)| *name == state).map(|(_, outcome)| outcome)
}

pub(crate) fn stage_columns(stage: &Stage) -> StageColumns<'_> {
    let columns = |stage, started: Option<Time>, until: Option<Time>| StageColumns {
        stage,
        started: started.map(ms),
        requested: None,
        by: None,
        until: until.map(ms),
    };
    match stage {
        Stage::Assigned => columns(ASSIGNED, None, None),
        Stage::Running { started } => columns(RUNNING, Some(*started), None),
        Stage::Unreachable { started, until } => columns(UNREACHABLE, *started, Some(*until)),
        Stage::Cancelling { started, requested, by, until } => StageColumns {
            requested: Some(ms(*requested)),
            by: Some(by),
            ..columns(CANCELLING, *started, Some(*until))
        },
    }
}

pub(crate) fn outcome_columns(outcome: &Outcome) -> OutcomeColumns<'_> {
    let columns = |outcome, number, text| OutcomeColumns { outcome, number, text };
    match outcome {
        Outcome::Exited { code: 0 } => columns(SUCCEEDED, None, None),
        Outcome::Exited { code } => columns(EXITED, Some(*code), None),
        Outcome::Signaled { signal } => columns(SIGNALED, Some(*signal), None),
        Outcome::OutOfMemory => columns(OUT_OF_MEMORY, None, None),
        Outcome::CouldNotStart { errno, detail } => columns(COULD_NOT_START, Some(*errno), Some(detail)),
        Outcome::TimedOut => columns(TIMED_OUT, None, None),
        Outcome::Cancelled { by, confirmed } => columns(CANCELLED, Some((*confirmed).into()), Some(by)),
        Outcome::Lost { started, reason } => {
            let started = STARTED.into_iter().find(|(_, known)| known == started);
            let reason = LOST_REASONS.into_iter().find(|(_, known)| known == reason);
            columns(LOST, started.map(|(number, _)| number), reason.map(|(text, _)| text))
        }
    }
}

/// The columns `cpu_us`, `max_rss` and `killed`. The kernel counts CPU time in microseconds; a size is any 64 bits.
pub(crate) fn usage_columns(usage: Option<Usage>) -> (Option<i64>, Option<i64>, Option<u32>) {
    let cpu_us = |usage: Usage| i64::try_from(usage.cpu.as_micros()).unwrap_or(i64::MAX);
    (usage.map(cpu_us), usage.map(|usage| usage.max_rss.cast_signed()), usage.map(|usage| usage.killed))
}

/// The columns `outcome` and `by` of `unplaced`.
pub(crate) fn queue_outcome_columns(outcome: &QueueOutcome) -> (i64, Option<&str>) {
    match outcome {
        QueueOutcome::Cancelled { by } => (CANCELLED, Some(by)),
        QueueOutcome::Expired => (EXPIRED, None),
    }
}

/// The columns `link`, `session`, `time` and `until` of `workers`. A session is any 64 bits.
pub(crate) fn link_columns(link: &Link) -> (&'static str, Option<i64>, i64, Option<i64>) {
    let (time, until) = match link {
        Link::Joining { until, .. } => (until, None),
        Link::Connected { since, .. } | Link::Leaving { since, .. } | Link::Gone { since } => (since, None),
        Link::Unreachable { since, until } => (since, Some(ms(*until))),
    };
    (link.as_str(), link.session().map(|session| session.0.cast_signed()), ms(*time), until)
}

/// A job, how much of it has ended, and when all of it had, from [`JOB`].
pub(crate) fn job(row: &Row<'_>) -> Result<(Job, Tally, Option<Time>), Fault> {
    let labels = serde_json::from_str(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?;
    let columns = spec::Columns { name: row.get(4)?, labels, slots: row.get(3)? };
    let spec = spec::decode(row.get_ref(7)?.as_str().map_err(rusqlite::Error::from)?, columns)?;
    let submission = Submission { spec, count: row.get(2)?, traceparent: row.get(6)?, key: row.get(15)? };
    let tally = Tally {
        succeeded: row.get(8)?,
        failed: row.get(9)?,
        timed_out: row.get(10)?,
        cancelled: row.get(11)?,
        lost: row.get(12)?,
        expired: row.get(13)?,
    };
    Ok((Job { id: job_id(row, 0)?, submitted: time(row, 1)?, submission }, tally, optional_time(row, 14)?))
}

/// A task that waits for another attempt, from [`AGAIN`].
pub(crate) fn again(row: &Row<'_>) -> Result<(TaskId, Again), Fault> {
    let task = job_id(row, 0)?.task(row.get(1)?);
    let tries = Tries { failed: row.get(3)?, lost: row.get(4)? };
    Ok((task, Again { attempt: row.get(2)?, tries, not_before: time(row, 5)? }))
}

/// A task that a worker holds, from [`ACTIVE`].
pub(crate) fn active(row: &Row<'_>) -> Result<(TaskId, Active), Fault> {
    let task = job_id(row, 0)?.task(row.get(1)?);
    let tries = Tries { failed: row.get(6)?, lost: row.get(7)? };
    let (started, requested, until) = (optional_time(row, 9)?, optional_time(row, 10)?, optional_time(row, 12)?);
    let stage = match (row.get(8)?, started, requested, row.get(11)?, until) {
        (ASSIGNED, None, None, None, None) => Stage::Assigned,
        (RUNNING, Some(started), None, None, None) => Stage::Running { started },
        (UNREACHABLE, started, None, None, Some(until)) => Stage::Unreachable { started, until },
        (CANCELLING, started, Some(requested), Some(by), Some(until)) => {
            Stage::Cancelling { started, requested, by, until }
        }
        other => return Err(damaged(format!("the stage of task {task} is {other:?}"))),
    };
    Ok((task, Active { attempt: attempt(row)?, tries, stage }))
}

/// A task and how an attempt at it ended, from [`ENDED`].
pub(crate) fn ended(row: &Row<'_>) -> Result<(TaskId, Ended), Fault> {
    let task = job_id(row, 0)?.task(row.get(1)?);
    let columns = (row.get(8)?, row.get(9)?, row.get(10)?);
    let outcome = outcome(columns).ok_or_else(|| damaged(format!("task {task} has no known outcome")))?;
    let (started, at) = (optional_time(row, 6)?, time(row, 7)?);
    Ok((task, Ended { attempt: attempt(row)?, started, at, outcome, usage: usage(row, task)? }))
}

/// What a command used, from the last columns of [`ENDED`].
fn usage(row: &Row<'_>, task: TaskId) -> Result<Option<Usage>, Fault> {
    let columns: (Option<i64>, Option<i64>, Option<u32>) = (row.get(11)?, row.get(12)?, row.get(13)?);
    match columns {
        (None, None, None) => Ok(None),
        (Some(cpu_us), Some(max_rss), Some(killed)) => {
            let cpu = Duration::from_micros(unsigned(cpu_us)?);
            Ok(Some(Usage { cpu, max_rss: max_rss.cast_unsigned(), killed }))
        }
        other => Err(damaged(format!("what an attempt at task {task} used is {other:?}"))),
    }
}

/// How tasks ended that waited, from the columns `outcome` and `by`.
pub(crate) fn queue_outcome(outcome: i64, by: Option<String>) -> Result<QueueOutcome, Fault> {
    match (outcome, by) {
        (CANCELLED, Some(by)) => Ok(QueueOutcome::Cancelled { by }),
        (EXPIRED, None) => Ok(QueueOutcome::Expired),
        other => Err(damaged(format!("the outcome of tasks that waited is {other:?}"))),
    }
}

/// What is known of a worker, from [`WORKER`].
pub(crate) fn worker(row: &Row<'_>) -> Result<Worker, Fault> {
    let labels = serde_json::from_str(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?;
    let hello = Hello { name: row.get(1)?, instance: row.get(2)?, version: row.get(3)?, labels, slots: row.get(5)? };
    let admission = match row.get(7)? {
        true => Admission::Draining,
        false => Admission::Open,
    };
    let session: Option<i64> = row.get(9)?;
    let session = session.map(|bits| SessionId(bits.cast_unsigned()));
    let link: String = row.get(8)?;
    let link = match (link.as_str(), session, time(row, 10)?, optional_time(row, 11)?) {
        ("joining", Some(session), until, None) => Link::Joining { session, until },
        ("connected", Some(session), since, None) => Link::Connected { session, since },
        ("leaving", Some(session), since, None) => Link::Leaving { session, since },
        ("unreachable", None, since, Some(until)) => Link::Unreachable { since, until },
        ("gone", None, since, None) => Link::Gone { since },
        other => return Err(damaged(format!("the link of worker {} is {other:?}", hello.name))),
    };
    Ok(Worker { id: WorkerId(row.get(0)?), hello, incarnation: row.get(6)?, admission, link })
}

pub(crate) fn job_id(row: &Row<'_>, column: usize) -> Result<JobId, Fault> {
    unsigned(row.get(column)?).map(JobId)
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> Result<Time, Fault> {
    unsigned(row.get(column)?).map(Time)
}

/// The attempt of a row of [`ACTIVE`] or [`ENDED`].
fn attempt(row: &Row<'_>) -> Result<Attempt, Fault> {
    let (number, worker, incarnation) = (row.get(2)?, WorkerId(row.get(3)?), row.get(4)?);
    Ok(Attempt { number, worker, incarnation, assigned: time(row, 5)? })
}

fn outcome(columns: (i64, Option<i32>, Option<String>)) -> Option<Outcome> {
    Some(match columns {
        (SUCCEEDED, None, None) => Outcome::Exited { code: 0 },
        (EXITED, Some(code), None) => Outcome::Exited { code },
        (SIGNALED, Some(signal), None) => Outcome::Signaled { signal },
        (OUT_OF_MEMORY, None, None) => Outcome::OutOfMemory,
        (COULD_NOT_START, Some(errno), Some(detail)) => Outcome::CouldNotStart { errno, detail },
        (TIMED_OUT, None, None) => Outcome::TimedOut,
        (CANCELLED, Some(confirmed @ 0..=1), Some(by)) => Outcome::Cancelled { by, confirmed: confirmed == 1 },
        (LOST, Some(number), Some(text)) => {
            let (_, started) = STARTED.into_iter().find(|(known, _)| *known == number)?;
            let (_, reason) = LOST_REASONS.into_iter().find(|(known, _)| *known == text)?;
            Outcome::Lost { started, reason }
        }
        _ => return None,
    })
}

fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Time>, Fault> {
    let number: Option<i64> = row.get(column)?;
    Ok(number.map(unsigned).transpose()?.map(Time))
}

fn unsigned(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| damaged(format!("a time or an id is {number}")))
}
