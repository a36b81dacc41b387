//! Reading the attempts at a task: those that ended and were followed by another one, and which was the last.

use rusqlite::{Connection, params};
use sortie_engine::{Ended, TaskId};

use crate::encode::{self, ENDED};
use crate::error::Fault;
use crate::workers::Names;

/// An attempt that ended and was not its task's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// How it ended.
    pub ended: Ended,
    /// The name of the worker that was given it.
    pub worker: String,
}

/// The attempts at a task that ended and were not its last, the oldest first.
pub(crate) fn past(db: &Connection, task: TaskId, names: &mut Names) -> Result<Vec<AttemptRow>, Fault> {
    let sql = format!("SELECT {ENDED} FROM attempts s WHERE s.job = ? AND s.idx = ? ORDER BY s.attempt");
    let mut select = db.prepare_cached(&sql)?;
    let attempts = select.query_and_then(params![encode::id(task.job), task.index], encode::ended)?;
    let attempts = attempts.map(|row| {
        let (_, ended) = row?;
        let worker = names.of(db, ended.attempt.worker)?;
        Ok(AttemptRow { ended, worker })
    });
    attempts.collect()
}

/// How many such attempts there are: as many as the highest number among them, because none is left out.
pub(crate) fn count(db: &Connection, task: TaskId) -> Result<u32, Fault> {
    let mut select = db.prepare_cached("SELECT coalesce(max(attempt), 0) FROM attempts WHERE job = ? AND idx = ?")?;
    Ok(select.query_row(params![encode::id(task.job), task.index], |row| row.get(0))?)
}

/// The number of a task's last attempt, wherever the task stands now; nothing if no worker was ever given it.
pub(crate) fn last(db: &Connection, task: TaskId) -> Result<Option<u32>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT max(attempt) FROM (
            SELECT attempt FROM active WHERE job = ?1 AND idx = ?2
            UNION ALL SELECT attempt FROM ended WHERE job = ?1 AND idx = ?2
            UNION ALL SELECT max(attempt) FROM attempts WHERE job = ?1 AND idx = ?2)",
    )?;
    Ok(select.query_row(params![encode::id(task.job), task.index], |row| row.get(0))?)
}
