//! Reading back what attempts wrote.

use rusqlite::{Connection, params};
use sortie_engine::{Captured, Output, TaskId};

use crate::commit::{STDERR, STDOUT};
use crate::encode;
use crate::error::{Fault, damaged};

/// What the newest attempt that wrote something wrote, and its number.
pub(crate) fn newest(db: &Connection, task: TaskId) -> Result<Option<(u32, Output)>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT attempt, stream, dropped, bytes FROM outputs
         WHERE job = ?1 AND idx = ?2
            AND attempt = (SELECT max(attempt) FROM outputs WHERE job = ?1 AND idx = ?2)",
    )?;
    let mut rows = select.query(params![encode::id(task.job), task.index])?;
    let mut newest = None;
    while let Some(row) = rows.next()? {
        let (_, output) = newest.get_or_insert((row.get(0)?, Output::default()));
        let dropped: i64 = row.get(2)?;
        let captured = Captured { dropped: dropped.cast_unsigned(), bytes: row.get(3)? };
        match row.get(1)? {
            STDOUT => output.stdout = captured,
            STDERR => output.stderr = captured,
            other => return Err(damaged(format!("task {task} has an output stream {other}"))),
        }
    }
    Ok(newest)
}
