//! Writing where tasks stand: each in the one table of its place, and its attempts that ended before beside it.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{OptionalExtension, Statement, Transaction, params};
use sortie_engine::{Active, Again, Ended, JobId, TaskId};

use crate::attempts;
use crate::commit::one;
use crate::encode::{id, ms, outcome_columns, queue_outcome_columns, stage_columns, usage_columns};
use crate::error::{Fault, damaged};
use crate::fold::{Held, Origin, Place, Unplaced};

/// Takes runs of tasks out of the ranges that wait.
pub(crate) fn take(db: &Transaction<'_>, taken: BTreeMap<JobId, Vec<Range<u32>>>) -> Result<(), Fault> {
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

/// Inserts what ended without an attempt.
pub(crate) fn insert_unplaced(db: &Transaction<'_>, unplaced: &[Unplaced]) -> Result<(), Fault> {
    unplaced.iter().try_for_each(|unplaced| insert_unplaced_after(db, 0, unplaced))
}

fn insert_unplaced_after(db: &Transaction<'_>, attempts: u32, unplaced: &Unplaced) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO unplaced (job, first, end, attempts, at, outcome, by) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    let Unplaced { job, range, at, outcome } = unplaced;
    let (outcome, by) = queue_outcome_columns(outcome);
    insert.execute(params![id(*job), range.start, range.end, attempts, ms(*at), outcome, by])?;
    Ok(())
}

/// Writes where the tasks went that workers hold or held. Who goes on with the same attempt keeps its row; who went
/// further leaves one row and gets one, however many places it saw on the way.
pub(crate) fn write_held(db: &Transaction<'_>, held: &BTreeMap<TaskId, Held>) -> Result<(), Fault> {
    let mut insert_past = db.prepare_cached(&insert_ended("attempts"))?;
    let mut insert_last = db.prepare_cached(&insert_ended("ended"))?;
    for (task, held) in held {
        let stays = held.stays();
        if !stays {
            leave(db, *task, held.from)?;
        }
        for ended in &held.past {
            bind_ended(&mut insert_past, *task, ended)?;
        }
        match &held.to {
            Place::Again(again) => insert_again(db, *task, again)?,
            Place::Active(active) if stays => update_active(db, *task, active)?,
            Place::Active(active) => insert_active(db, *task, active)?,
            Place::Ended(ended) => bind_ended(&mut insert_last, *task, ended)?,
            Place::Unplaced(unplaced) => insert_unplaced_after(db, attempts::count(db, *task)?, unplaced)?,
        }
    }
    Ok(())
}

/// Deletes a task's row where it stood. What waited for its first attempt has been taken out of its range.
fn leave(db: &Transaction<'_>, task: TaskId, from: Origin) -> Result<(), Fault> {
    let (sql, place) = match from {
        Origin::Waiting => return Ok(()),
        Origin::Again => ("DELETE FROM again WHERE job = ? AND idx = ?", "waiting for another attempt"),
        Origin::Active => ("DELETE FROM active WHERE job = ? AND idx = ?", "active"),
    };
    let deleted = db.prepare_cached(sql)?.execute(params![id(task.job), task.index])?;
    one(deleted, || format!("task {task} is not {place}"))
}

fn insert_again(db: &Transaction<'_>, task: TaskId, again: &Again) -> Result<(), Fault> {
    let mut insert =
        db.prepare_cached("INSERT INTO again (job, idx, attempt, failed, lost, not_before) VALUES (?, ?, ?, ?, ?, ?)")?;
    let Again { attempt, tries, not_before } = again;
    insert.execute(params![id(task.job), task.index, attempt, tries.failed, tries.lost, ms(*not_before)])?;
    Ok(())
}

fn insert_active(db: &Transaction<'_>, task: TaskId, active: &Active) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO active (job, idx, attempt, worker, incarnation, assigned, failed, lost,
            stage, started, requested, by, until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let (attempt, tries, stage) = (&active.attempt, active.tries, stage_columns(&active.stage));
    insert.execute(params![
        id(task.job),
        task.index,
        attempt.number,
        attempt.worker.0,
        attempt.incarnation,
        ms(attempt.assigned),
        tries.failed,
        tries.lost,
        stage.stage,
        stage.started,
        stage.requested,
        stage.by,
        stage.until,
    ])?;
    Ok(())
}

/// Only the stage: who tries a task, since when and after how many tries never changes.
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

/// The statement that inserts into one of the two tables that have the same columns.
fn insert_ended(table: &str) -> String {
    format!(
        "INSERT INTO {table} (job, idx, attempt, worker, incarnation, assigned, started, at,
            outcome, number, text, cpu_us, max_rss, killed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
}

/// Inserts the end of an attempt, by a statement of [`insert_ended`].
fn bind_ended(insert: &mut Statement<'_>, task: TaskId, ended: &Ended) -> Result<(), Fault> {
    let (attempt, outcome) = (&ended.attempt, outcome_columns(&ended.outcome));
    let (cpu_us, max_rss, killed) = usage_columns(ended.usage);
    insert.execute(params![
        id(task.job),
        task.index,
        attempt.number,
        attempt.worker.0,
        attempt.incarnation,
        ms(attempt.assigned),
        ended.started.map(ms),
        ms(ended.at),
        outcome.outcome,
        outcome.number,
        outcome.text,
        cpu_us,
        max_rss,
        killed,
    ])?;
    Ok(())
}
