//! Reading back what attempts wrote.

use rusqlite::{Connection, params};
use sortie_engine::{AttemptId, Captured, Output, TaskId};

use crate::attempts;
use crate::commit::{STDERR, STDOUT};
use crate::encode;
use crate::error::{Fault, damaged};

/// What an attempt at a task wrote, or the last one, and its number; nothing if there was none.
pub(crate) fn of_task(db: &Connection, task: TaskId, attempt: Option<u32>) -> Result<Option<(u32, Output)>, Fault> {
    let Some(last) = attempts::last(db, task)? else { return Ok(None) };
    match attempt.unwrap_or(last) {
        number if (1..=last).contains(&number) => Ok(Some((number, of_attempt(db, task.attempt(number))?))),
        _ => Ok(None),
    }
}

fn of_attempt(db: &Connection, AttemptId { task, number }: AttemptId) -> Result<Output, Fault> {
    let mut select =
        db.prepare_cached("SELECT stream, dropped, bytes FROM outputs WHERE job = ? AND idx = ? AND attempt = ?")?;
    let mut rows = select.query(params![encode::id(task.job), task.index, number])?;
    let mut output = Output::default();
    while let Some(row) = rows.next()? {
        let dropped: i64 = row.get(1)?;
        let captured = Captured { dropped: dropped.cast_unsigned(), bytes: row.get(2)? };
        match row.get(0)? {
            STDOUT => output.stdout = captured,
            STDERR => output.stderr = captured,
            other => return Err(damaged(format!("task {task} has an output stream {other}"))),
        }
    }
    Ok(output)
}
