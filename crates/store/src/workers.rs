//! Listing workers, and how much each holds; and their names.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use sortie_engine::{Worker, WorkerId};

use crate::encode::{self, WORKER};
use crate::error::{Fault, damaged};
use crate::filter::{MAX_PAGE, WorkerFilter};
use crate::query::Query;

/// A worker as it stands in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// What is known of it.
    pub worker: Worker,
    /// How many attempts it holds.
    pub running: u32,
    /// How many slots they take.
    pub used: u32,
}

/// The names of workers, each read once.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<WorkerId, String>);

/// The workers after `after` that the filter lets through, by name.
pub(crate) fn page(
    db: &Connection,
    filter: &WorkerFilter,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<WorkerRow>, Fault> {
    let mut query = Query::default();
    if let Some(after) = after {
        query.only("w.name > ?", [after.into()]);
    }
    if !filter.states.is_empty() {
        query.one_of("w.link", filter.states.iter().map(|state| state.clone().into()));
    }
    query.selected("w.labels", &filter.selector);
    let select = format!("SELECT {WORKER} FROM workers w");
    let workers = query.rows(db, &select, "w.name", limit.min(MAX_PAGE), encode::worker)?;
    workers.into_iter().map(|worker| row(db, worker)).collect()
}

/// One worker.
pub(crate) fn one(db: &Connection, name: &str) -> Result<Option<WorkerRow>, Fault> {
    let mut select = db.prepare_cached(&format!("SELECT {WORKER} FROM workers w WHERE w.name = ?"))?;
    let worker = select.query_row([name], |row| Ok(encode::worker(row))).optional()?.transpose()?;
    worker.map(|worker| row(db, worker)).transpose()
}

/// The worker of this name.
pub(crate) fn id(db: &Connection, name: &str) -> Result<Option<WorkerId>, Fault> {
    let mut select = db.prepare_cached("SELECT id FROM workers WHERE name = ?")?;
    Ok(select.query_row([name], |row| row.get(0).map(WorkerId)).optional()?)
}

impl Names {
    /// The name of a worker that was given a task.
    pub(crate) fn of(&mut self, db: &Connection, id: WorkerId) -> Result<String, Fault> {
        if let Some(name) = self.0.get(&id) {
            return Ok(name.clone());
        }
        let mut select = db.prepare_cached("SELECT name FROM workers WHERE id = ?")?;
        let name: Option<String> = select.query_row([id.0], |row| row.get(0)).optional()?;
        let name = name.ok_or_else(|| damaged(format!("worker {id} is not known")))?;
        self.0.insert(id, name.clone());
        Ok(name)
    }
}

fn row(db: &Connection, worker: Worker) -> Result<WorkerRow, Fault> {
    let mut select = db.prepare_cached(
        "SELECT count(*), coalesce(sum(j.slots), 0) FROM active s CROSS JOIN jobs j WHERE s.worker = ? AND j.id = s.job",
    )?;
    let (running, used) = select.query_row([worker.id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(WorkerRow { worker, running, used })
}
