//! Writing a batch: one transaction, each changed row once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sortie_engine::{Admission, AttemptId, Captured, Job, JobId, Output, Tally, Time, Worker, WorkerId};

use crate::encode::{id, link_columns, ms};
use crate::error::{Fault, damaged};
use crate::fold::{Batch, Folded, remainder};
use crate::places::{insert_unplaced, take, write_held};
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
    let mut insert_spec = db.prepare_cached("INSERT INTO specs (job, key, spec) VALUES (?, ?, ?)")?;
    let mut insert_waiting = db.prepare_cached("INSERT INTO waiting (job, first, end) VALUES (?, ?, ?)")?;
    for job in &folded.submitted {
        let (tally, ended) = folded.counted.remove(&job.id).unwrap_or_default();
        insert_job(db, job, tally, ended)?;
        insert_spec.execute(params![id(job.id), job.submission.key, spec::encode(job.spec())?])?;
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
        "INSERT INTO workers
            (id, name, instance, version, labels, slots, incarnation, draining, link, session, time, until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, version = excluded.version,
            labels = excluded.labels, slots = excluded.slots, incarnation = excluded.incarnation,
            draining = excluded.draining, link = excluded.link, session = excluded.session, time = excluded.time,
            until = excluded.until",
    )?;
    for Worker { id, hello, incarnation, admission, link } in workers.values() {
        let labels = serde_json::to_string(&hello.labels)?;
        let (link, session, time, until) = link_columns(link);
        upsert.execute(params![
            id.0,
            hello.name,
            hello.instance,
            hello.version,
            labels,
            hello.slots,
            incarnation,
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
pub(crate) fn one(changed: usize, what: impl FnOnce() -> String) -> Result<(), Fault> {
    match changed {
        1 => Ok(()),
        _ => Err(damaged(what())),
    }
}
