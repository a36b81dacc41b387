//! Listing tasks: a page of each table that may have some, merged, the newest first.
//!
//! Every table is read in the order of the listing from the cursor on, through an index, and no further than a
//! page. So a page costs what the page costs, and an array of a million tasks that wait is one row of one table.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use sortie_engine::{Job, JobId, StateName, TaskId, TaskState, WorkerId};

use crate::attempts::{self, AttemptRow};
use crate::encode::{self, ACTIVE, AGAIN, ENDED};
use crate::error::{Fault, damaged};
use crate::filter::{MAX_PAGE, TaskFilter};
use crate::jobs;
use crate::query::{OfJob, Query};
use crate::workers::{self, Names};

/// One task as it stands in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// The job that it belongs to, shared by the job's rows of one page.
    pub job: Arc<Job>,
    /// Where it is.
    pub state: TaskState,
    /// The name of the worker whose attempt its state tells of.
    pub worker: Option<String>,
    /// How many attempts it has had beside the one that its state tells of, if it tells of one.
    pub tried: u32,
    /// These attempts, the oldest first. A listing leaves them out: a page of them would have no bound.
    pub attempts: Vec<AttemptRow>,
}

/// Where tasks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Waiting,
    Again,
    Unplaced,
    Active,
    Ended,
}

/// A table, and which of its rows: those with one of these stages or outcomes, or all.
#[derive(Debug)]
struct Source {
    table: Table,
    codes: Option<BTreeSet<i64>>,
}

/// Neighbouring tasks of one job in one state: a row of any of the tables.
#[derive(Debug)]
struct Run {
    job: JobId,
    range: Range<u32>,
    state: TaskState,
    tried: u32,
}

/// A task of a run.
#[derive(Debug)]
struct Found {
    id: TaskId,
    state: TaskState,
    tried: u32,
}

/// The place before which a page begins, exclusive. The index may be one past the highest.
type Cursor = (JobId, u64);

/// Everything that a filter asks for, with the worker's name looked up.
#[derive(Debug)]
struct Scope<'a> {
    first_job: Option<JobId>,
    before: Option<Cursor>,
    states: &'a [StateName],
    worker: Option<WorkerId>,
    of_job: OfJob<'a>,
}

/// The tasks after `after` that the filter lets through, the newest job first, the highest index first.
pub(crate) fn page(
    db: &Connection,
    filter: &TaskFilter,
    after: Option<TaskId>,
    limit: u32,
) -> Result<Vec<TaskRow>, Fault> {
    let worker = match &filter.worker {
        None => None,
        Some(name) => match workers::id(db, name)? {
            Some(worker) => Some(worker),
            None => return Ok(Vec::new()),
        },
    };
    let after = after.map(|task| (task.job, u64::from(task.index)));
    let end = filter.job.map(|job| (JobId(job.0.saturating_add(1)), 0));
    let before = after.into_iter().chain(end).min();
    let scope = Scope { first_job: filter.job, before, states: &filter.states, worker, of_job: filter.into() };
    rows(db, &scope, limit.min(MAX_PAGE))
}

/// One task.
pub(crate) fn one(db: &Connection, task: TaskId) -> Result<Option<TaskRow>, Fault> {
    let filter = TaskFilter::default();
    let before = Some((task.job, u64::from(task.index) + 1));
    let scope = Scope { first_job: Some(task.job), before, states: &[], worker: None, of_job: (&filter).into() };
    let found = rows(db, &scope, 1)?.pop().filter(|row| row.id == task);
    let Some(mut row) = found else { return Ok(None) };
    if row.tried > 0 {
        row.attempts = attempts::past(db, task, &mut Names::default())?;
    }
    Ok(Some(row))
}

fn rows(db: &Connection, scope: &Scope<'_>, limit: u32) -> Result<Vec<TaskRow>, Fault> {
    let mut tasks = Vec::new();
    for source in scope.sources() {
        tasks.extend(source.tasks(db, scope, limit)?);
    }
    tasks.sort_unstable_by_key(|found| Reverse(found.id));
    tasks.truncate(limit as usize);
    let (mut jobs, mut names) = (BTreeMap::new(), Names::default());
    tasks.into_iter().map(|found| row(db, found, &mut jobs, &mut names)).collect()
}

impl Scope<'_> {
    /// The tables that may have tasks in the states that are asked for.
    fn sources(&self) -> Vec<Source> {
        let tables = [Table::Waiting, Table::Again, Table::Unplaced, Table::Active, Table::Ended];
        let tables = tables.into_iter().filter(|table| self.worker.is_none() || table.has_worker());
        tables.flat_map(|table| self.sources_in(table)).collect()
    }

    /// The rows of a table that may be asked for. Ended tasks of some states or of a worker are read an outcome
    /// at a time: of each outcome an index knows the order, of several together it does not.
    fn sources_in(&self, table: Table) -> Vec<Source> {
        let states = if self.states.is_empty() { &StateName::ALL } else { self.states };
        let codes: BTreeSet<i64> = states.iter().flat_map(|state| table.codes(*state)).collect();
        let all = self.states.is_empty() && self.worker.is_none();
        match table {
            _ if all => vec![Source { table, codes: None }],
            Table::Ended => codes.into_iter().map(|code| Source { table, codes: Some([code].into()) }).collect(),
            _ if codes.is_empty() => Vec::new(),
            Table::Waiting | Table::Again | Table::Unplaced | Table::Active => {
                vec![Source { table, codes: Some(codes) }]
            }
        }
    }

    /// The tasks of a run that come after the cursor, the highest first.
    fn tasks(&self, run: &Run) -> impl Iterator<Item = TaskId> + use<> {
        let end = match self.before {
            Some((job, index)) if job == run.job => index.min(run.range.end.into()),
            Some(_) | None => run.range.end.into(),
        };
        let (job, start) = (run.job, run.range.start);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        (start..end).rev().map(move |index| job.task(index))
    }
}

impl Table {
    /// The name, the column that orders the rows of one job, and all columns.
    fn columns(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Table::Waiting => ("waiting", "s.first", "s.job, s.first, s.end"),
            Table::Again => ("again", "s.idx", AGAIN),
            Table::Unplaced => ("unplaced", "s.first", "s.job, s.first, s.end, s.attempts, s.at, s.outcome, s.by"),
            Table::Active => ("active", "s.idx", ACTIVE),
            Table::Ended => ("ended", "s.idx", ENDED),
        }
    }

    fn has_worker(self) -> bool {
        matches!(self, Table::Active | Table::Ended)
    }

    /// How the table's column for it writes a state; nothing if no task in the state stands there. All that
    /// waits is in one state, which needs no column.
    fn codes(self, state: StateName) -> Vec<i64> {
        match self {
            Table::Waiting | Table::Again => (state == StateName::Queued).then_some(0).into_iter().collect(),
            Table::Unplaced => encode::queue_outcome_of(state).into_iter().collect(),
            Table::Active => encode::stage_of(state).into_iter().collect(),
            Table::Ended => encode::outcomes_of(state).to_vec(),
        }
    }

    fn run(self, row: &Row<'_>) -> Result<Run, Fault> {
        match self {
            Table::Waiting => ranged(row, TaskState::Queued, 0),
            Table::Unplaced => {
                let outcome = encode::queue_outcome(row.get(5)?, row.get(6)?)?;
                ranged(row, TaskState::EndedInQueue { at: encode::time(row, 4)?, outcome }, row.get(3)?)
            }
            Table::Again => {
                let (task, again) = encode::again(row)?;
                Ok(single(task, again.attempt, TaskState::Again(again)))
            }
            Table::Active => {
                let (task, active) = encode::active(row)?;
                Ok(single(task, active.attempt.number.saturating_sub(1), TaskState::Active(active)))
            }
            Table::Ended => {
                let (task, ended) = encode::ended(row)?;
                Ok(single(task, ended.attempt.number.saturating_sub(1), TaskState::Ended(ended)))
            }
        }
    }
}

/// A run whose row begins with its job, its first index and its end.
fn ranged(row: &Row<'_>, state: TaskState, tried: u32) -> Result<Run, Fault> {
    Ok(Run { job: encode::job_id(row, 0)?, range: row.get(1)?..row.get(2)?, state, tried })
}

/// A run of one task.
fn single(task: TaskId, tried: u32, state: TaskState) -> Run {
    Run { job: task.job, range: task.index..task.index + 1, state, tried }
}

impl Source {
    fn tasks(&self, db: &Connection, scope: &Scope<'_>, limit: u32) -> Result<Vec<Found>, Fault> {
        let (query, select, order) = self.query(scope);
        let runs = query.rows(db, &select, &order, limit, |row| self.table.run(row))?;
        let tasks = runs
            .into_iter()
            .flat_map(|run| scope.tasks(&run).map(move |id| Found { id, state: run.state.clone(), tried: run.tried }));
        Ok(tasks.take(limit as usize).collect())
    }

    /// The conditions, the text before them, and the order after them.
    ///
    /// Where a job is asked for by its name, or where its tasks may be many, the jobs are walked and their rows
    /// looked up; else the rows are walked and their jobs looked up. `CROSS JOIN` keeps SQLite to that.
    fn query(&self, scope: &Scope<'_>) -> (Query, String, String) {
        let (table, key, columns) = self.table.columns();
        let of_job = &scope.of_job;
        let by_job = of_job.name.is_some() || (self.table == Table::Ended && !of_job.is_empty());
        let mut query = Query::default();
        let rows = format!("{table} s {}", self.index(scope));
        let (from, job) = match (of_job.is_empty(), by_job) {
            (true, _) => (rows, "s.job"),
            (false, false) => (format!("{rows} CROSS JOIN jobs j"), "s.job"),
            (false, true) => (format!("jobs j CROSS JOIN {rows}"), "j.id"),
        };
        if !of_job.is_empty() {
            query.only("s.job = j.id", []);
            of_job.add_to(&mut query);
        }
        if let Some(first) = scope.first_job {
            query.only(format!("{job} >= ?"), [encode::id(first).into()]);
        }
        if let Some(before) = scope.before {
            after_cursor(&mut query, by_job, key, before);
        }
        if let Some(worker) = scope.worker {
            query.only("s.worker = ?", [i64::from(worker.0).into()]);
        }
        self.only_codes(&mut query);
        (query, format!("SELECT {columns} FROM {from}"), format!("{job} DESC, {key} DESC"))
    }

    /// The index that has the rows that are asked for in the order of the listing; else the table itself has.
    fn index(&self, scope: &Scope<'_>) -> &'static str {
        match (self.table, scope.worker, &self.codes) {
            (Table::Active, Some(_), _) => "INDEXED BY active_by_worker",
            (Table::Ended, Some(_), _) => "INDEXED BY ended_by_worker",
            (Table::Ended, None, Some(_)) => "INDEXED BY ended_by_outcome",
            (Table::Waiting | Table::Again | Table::Unplaced | Table::Active | Table::Ended, _, _) => "",
        }
    }

    fn only_codes(&self, query: &mut Query) {
        let Some(codes) = &self.codes else { return };
        let values = codes.iter().map(|code| Value::from(*code));
        match self.table {
            Table::Waiting | Table::Again => {}
            Table::Active => query.one_of("s.stage", values),
            Table::Unplaced | Table::Ended => query.one_of("s.outcome", values),
        }
    }
}

/// Begins behind the cursor. Both forms are bounds on an index, and skip no row by reading it.
fn after_cursor(query: &mut Query, by_job: bool, key: &str, (job, index): Cursor) {
    let job = Value::from(encode::id(job));
    let index = Value::from(i64::try_from(index).unwrap_or(i64::MAX));
    match by_job {
        false => query.only(format!("(s.job, {key}) < (?, ?)"), [job, index]),
        true => {
            query.only("j.id <= ?", [job.clone()]);
            query.only(format!("{key} < iif(j.id = ?, ?, {})", i64::MAX), [job, index]);
        }
    }
}

/// A task with its job and its worker's name, each read once for a page.
fn row(
    db: &Connection,
    found: Found,
    jobs: &mut BTreeMap<JobId, Arc<Job>>,
    names: &mut Names,
) -> Result<TaskRow, Fault> {
    let Found { id, state, tried } = found;
    let job = match jobs.get(&id.job) {
        Some(job) => job.clone(),
        None => {
            let job = jobs::job(db, id.job)?.ok_or_else(|| damaged(format!("task {id} has no job")))?;
            jobs.entry(id.job).or_insert(job).clone()
        }
    };
    let worker = match &state {
        TaskState::Queued | TaskState::Again(_) | TaskState::EndedInQueue { .. } => None,
        TaskState::Active(active) => Some(active.attempt.worker),
        TaskState::Ended(ended) => Some(ended.attempt.worker),
    };
    let worker = worker.map(|worker| names.of(db, worker)).transpose()?;
    Ok(TaskRow { id, job, state, worker, tried, attempts: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::{own, reading};
    use sortie_engine::Time;

    fn plan(db: &Connection, source: &Source, scope: &Scope<'_>) -> String {
        let (query, select, order) = source.query(scope);
        query.plan(db, &select, &order)
    }

    /// Every listing that there can be is read through an index in its own order, from its cursor on. A sort would
    /// cost what the array costs, and so would a walk that begins before the cursor or anew for each job.
    #[test]
    fn no_plan_sorts_or_walks_what_it_need_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let owned = own(dir.path()).expect("a directory");
        let db = reading(&owned.path).expect("a connection");
        let all = TaskFilter::default;
        let of_jobs = [
            all(),
            TaskFilter { name: Some("n".into()), ..all() },
            TaskFilter { submitted_from: Some(Time(1)), submitted_until: Some(Time(2)), ..all() },
            TaskFilter { selector: "a".parse().expect("a selector"), ..all() },
        ];
        for of_job in &of_jobs {
            for choice in 0..16 {
                let chosen = |bit: u32| choice >> bit & 1 == 1;
                let scope = Scope {
                    first_job: chosen(0).then_some(JobId(1)),
                    before: chosen(1).then_some((JobId(1), 5)),
                    states: if chosen(2) { &StateName::ALL } else { &[] },
                    worker: chosen(3).then_some(WorkerId(1)),
                    of_job: of_job.into(),
                };
                for source in scope.sources() {
                    let plan = plan(&db, &source, &scope);
                    let walks = plan.contains("SCAN s") && (chosen(0) || chosen(1) || !plan.starts_with("SCAN s"));
                    assert!(!plan.contains("TEMP B-TREE") && !walks, "{source:?} {scope:?}: {plan}");
                }
            }
        }
    }
}
