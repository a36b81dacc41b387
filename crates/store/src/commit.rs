//! Writing a batch: one transaction, each changed row once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sortie_engine::{
    Active, Admission, AttemptId, Captured, Ended, Job, JobId, Output, Tally, TaskId, Time, Worker, WorkerId,
};

use crate::encode::{id, link_columns, ms, outcome_columns, queue_outcome_columns, stage_columns};
use crate::error::{Fault, damaged};
use crate::fold::{Batch, Folded, Held, Step, Unplaced, remainder};
use crate::spec;

/// `outputs.stream` of the standard output.
pub(crate) const STDOUT: i64 = 1;
/// `outputs.stream` of the standard error.
pub(crate) const STDERR: i64 = 2;

/// Writes a batch, wholly or not at all.
pub(crate) fn commit(db: &mut Connection, batch: Batch) -> Result<(), Fault> {
    let mut folded = Folded::new(batch.records);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    insert_jobs(&transaction, &mut folded)?;
    take(&transaction, folded.taken)?;
    insert_unplaced(&transaction, &folded.unplaced)?;
    write_held(&transaction, &folded.held)?;
    count(&transaction, &folded.counted)?;
    write_workers(&transaction, &folded.workers)?;
    insert_outputs(&transaction, &batch.outputs)?;
    Ok(transaction.commit()?)
}

/// Inserts new jobs as the batch leaves them, and what of them still waits.
fn insert_jobs(db: &Transaction<'_>, folded: &mut Folded) -> Result<(), Fault> {
    let mut insert_spec = db.prepare_cached("INSERT INTO specs (job, spec) VALUES (?, ?)")?;
    let mut insert_waiting = db.prepare_cached("INSERT INTO waiting (job, first, end) VALUES (?, ?, ?)")?;
    for job in &folded.submitted {
        let (tally, ended) = folded.counted.remove(&job.id).unwrap_or_default();
        insert_job(db, job, tally, ended)?;
        insert_spec.execute(params![id(job.id), spec::encode(job.spec())?])?;
        let taken = folded.taken.remove(&job.id).unwrap_or_default();
        for range in remainder(job.submission.count, taken) {
            insert_waiting.execute(params![id(job.id), range.start, range.end])?;
        }
    }
    Ok(())
}

fn insert_job(db: &Transaction<'_>, job: &Arc<Job>, tally: Tally, ended: Option<Time>) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO jobs (id, submitted, count, slots, name, labels, traceparent,
            succeeded, failed, timed_out, cancelled, lost, expired, ended)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let spec = job.spec();
    insert.execute(params![
        id(job.id),
        ms(job.submitted),
        job.submission.count,
        spec.needs.slots,
        spec.name,
        serde_json::to_string(&spec.labels)?,
        job.submission.traceparent,
        tally.succeeded,
        tally.failed,
        tally.timed_out,
        tally.cancelled,
        tally.lost,
        tally.expired,
        ended.map(ms),
    ])?;
    Ok(())
}

/// Takes runs of tasks out of the ranges that wait.
fn take(db: &Transaction<'_>, taken: BTreeMap<JobId, Vec<Range<u32>>>) -> Result<(), Fault> {
    let mut find =
        db.prepare_cached("SELECT first, end FROM waiting WHERE job = ? AND first <= ? ORDER BY first DESC LIMIT 1")?;
    let mut delete = db.prepare_cached("DELETE FROM waiting WHERE job = ? AND first = ?")?;
    let mut shorten = db.prepare_cached("UPDATE waiting SET end = ? WHERE job = ? AND first = ?")?;
    let mut insert = db.prepare_cached("INSERT INTO waiting (job, first, end) VALUES (?, ?, ?)")?;
    for (job, run) in taken.into_iter().flat_map(|(job, runs)| runs.into_iter().map(move |run| (job, run))) {
        let found: Option<(u32, u32)> =
            find.query_row(params![id(job), run.start], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((first, end)) = found.filter(|(_, end)| run.end <= *end) else {
            return Err(damaged(format!("not all of the tasks {job}.{} to {} wait", run.start, run.end - 1)));
        };
        match first == run.start {
            true => delete.execute(params![id(job), first])?,
            false => shorten.execute(params![run.start, id(job), first])?,
        };
        if run.end < end {
            insert.execute(params![id(job), run.end, end])?;
        }
    }
    Ok(())
}

fn insert_unplaced(db: &Transaction<'_>, unplaced: &[Unplaced]) -> Result<(), Fault> {
    let mut insert =
        db.prepare_cached("INSERT INTO unplaced (job, first, end, at, outcome, by) VALUES (?, ?, ?, ?, ?, ?)")?;
    for Unplaced { job, range, at, outcome } in unplaced {
        let (outcome, by) = queue_outcome_columns(outcome);
        insert.execute(params![id(*job), range.start, range.end, ms(*at), outcome, by])?;
    }
    Ok(())
}

/// Writes where the tasks are that workers hold or held; a task that ended leaves one table for the other.
fn write_held(db: &Transaction<'_>, held: &BTreeMap<TaskId, Held>) -> Result<(), Fault> {
    let mut delete = db.prepare_cached("DELETE FROM active WHERE job = ? AND idx = ?")?;
    for (task, Held { fresh, step }) in held {
        match step {
            Step::Active(active) if *fresh => insert_active(db, *task, active)?,
            Step::Active(active) => update_active(db, *task, active)?,
            Step::Ended(ended) => {
                if !fresh {
                    one(delete.execute(params![id(task.job), task.index])?, || format!("task {task} is not active"))?;
                }
                insert_ended(db, *task, ended)?;
            }
        }
    }
    Ok(())
}

fn insert_active(db: &Transaction<'_>, task: TaskId, active: &Active) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO active (job, idx, attempt, worker, assigned, stage, started, requested, by, until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let (attempt, stage) = (&active.attempt, stage_columns(&active.stage));
    insert.execute(params![
        id(task.job),
        task.index,
        attempt.number,
        attempt.worker.0,
        ms(attempt.assigned),
        stage.stage,
        stage.started,
        stage.requested,
        stage.by,
        stage.until,
    ])?;
    Ok(())
}

/// Only the stage: an attempt's number, worker and time of assignment never change.
fn update_active(db: &Transaction<'_>, task: TaskId, active: &Active) -> Result<(), Fault> {
    let mut update = db.prepare_cached(
        "UPDATE active SET stage = ?, started = ?, requested = ?, by = ?, until = ?
         WHERE job = ? AND idx = ? AND attempt = ?",
    )?;
    let stage = stage_columns(&active.stage);
    let changed = update.execute(params![
        stage.stage,
        stage.started,
        stage.requested,
        stage.by,
        stage.until,
        id(task.job),
        task.index,
        active.attempt.number,
    ])?;
    one(changed, || format!("attempt {} of task {task} is not active", active.attempt.number))
}

fn insert_ended(db: &Transaction<'_>, task: TaskId, ended: &Ended) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO ended (job, idx, attempt, worker, assigned, started, at, outcome, number, text)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let (attempt, outcome) = (&ended.attempt, outcome_columns(&ended.outcome));
    insert.execute(params![
        id(task.job),
        task.index,
        attempt.number,
        attempt.worker.0,
        ms(attempt.assigned),
        ended.started.map(ms),
        ms(ended.at),
        outcome.outcome,
        outcome.number,
        outcome.text,
    ])?;
    Ok(())
}

fn count(db: &Transaction<'_>, counted: &BTreeMap<JobId, (Tally, Option<Time>)>) -> Result<(), Fault> {
    let mut update = db.prepare_cached(
        "UPDATE jobs SET succeeded = ?, failed = ?, timed_out = ?, cancelled = ?, lost = ?, expired = ?, ended = ?
         WHERE id = ? AND ended IS NULL",
    )?;
    for (job, (tally, ended)) in counted {
        let changed = update.execute(params![
            tally.succeeded,
            tally.failed,
            tally.timed_out,
            tally.cancelled,
            tally.lost,
            tally.expired,
            ended.map(ms),
            id(*job),
        ])?;
        one(changed, || format!("job {job} is not live"))?;
    }
    Ok(())
}

fn write_workers(db: &Transaction<'_>, workers: &BTreeMap<WorkerId, Worker>) -> Result<(), Fault> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO workers (id, name, instance, version, labels, slots, draining, link, session, time, until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, version = excluded.version,
            labels = excluded.labels, slots = excluded.slots, draining = excluded.draining, link = excluded.link,
            session = excluded.session, time = excluded.time, until = excluded.until",
    )?;
    for Worker { id, hello, admission, link } in workers.values() {
        let labels = serde_json::to_string(&hello.labels)?;
        let (link, session, time, until) = link_columns(link);
        upsert.execute(params![
            id.0,
            hello.name,
            hello.instance,
            hello.version,
            labels,
            hello.slots,
            *admission == Admission::Draining,
            link,
            session,
            time,
            until,
        ])?;
    }
    Ok(())
}

/// A stream that comes again replaces itself: it is the same attempt's.
fn insert_outputs(db: &Transaction<'_>, outputs: &[(AttemptId, Output)]) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO outputs (job, idx, attempt, stream, dropped, bytes) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for (AttemptId { task, number }, output) in outputs {
        for (stream, captured) in [(STDOUT, &output.stdout), (STDERR, &output.stderr)] {
            let Captured { bytes, dropped } = captured;
            if *captured != Captured::default() {
                insert.execute(params![id(task.job), task.index, number, stream, dropped.cast_signed(), bytes])?;
            }
        }
    }
    Ok(())
}

/// That a statement changed the one row it was about.
fn one(changed: usize, what: impl FnOnce() -> String) -> Result<(), Fault> {
    match changed {
        1 => Ok(()),
        _ => Err(damaged(what())),
    }
}
