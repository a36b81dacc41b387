//! Loading what the scheduler needs: what is live, and every worker.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use sortie_engine::{Active, Again, JobId, LiveJob, Ranges, Snapshot, TaskId, Worker};

use crate::encode::{self, ACTIVE, AGAIN, JOB, WORKER};
use crate::error::{Fault, damaged};

/// The scheduler's state as the last commit left it.
pub(crate) fn load(db: &Connection) -> Result<Snapshot, Fault> {
    let snapshot = Snapshot { next_job: next_job(db)?, jobs: jobs(db)?, active: active(db)?, workers: workers(db)? };
    check(&snapshot)?;
    Ok(snapshot)
}

/// One more than the highest id that ever was, even if its job is gone.
fn next_job(db: &Connection) -> Result<JobId, Fault> {
    let mut select = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")?;
    let last = select.query_row([], |row| Ok(encode::job_id(row, 0))).optional()?;
    let last = last.unwrap_or(Ok(JobId(0)))?;
    Ok(JobId(last.0 + 1))
}

fn jobs(db: &Connection) -> Result<Vec<LiveJob>, Fault> {
    let (mut waiting, mut again) = (waiting(db)?, again(db)?);
    let sql =
        format!("SELECT {JOB} FROM jobs j CROSS JOIN specs x WHERE j.ended IS NULL AND x.job = j.id ORDER BY j.id");
    let mut select = db.prepare(&sql)?;
    let jobs = select.query_and_then([], |row| {
        let (job, tally, _) = encode::job(row)?;
        let waiting = waiting.remove(&job.id).unwrap_or_default();
        let again = again.remove(&job.id).unwrap_or_default();
        Ok::<_, Fault>(LiveJob { job: Arc::new(job), waiting, again, tally })
    })?;
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    match waiting.into_keys().chain(again.into_keys()).next() {
        Some(job) => Err(damaged(format!("tasks of job {job} wait, and it is not live"))),
        None => Ok(jobs),
    }
}

fn waiting(db: &Connection) -> Result<BTreeMap<JobId, Ranges>, Fault> {
    let mut waiting: BTreeMap<JobId, Ranges> = BTreeMap::new();
    let mut select = db.prepare("SELECT job, first, end FROM waiting ORDER BY job, first")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let job = encode::job_id(row, 0)?;
        let range: Range<u32> = row.get(1)?..row.get(2)?;
        if range.is_empty() {
            return Err(damaged(format!("the tasks of job {job} that wait from {} are none", range.start)));
        }
        waiting.entry(job).or_default().push(range);
    }
    Ok(waiting)
}

fn again(db: &Connection) -> Result<BTreeMap<JobId, BTreeMap<u32, Again>>, Fault> {
    let mut waiting: BTreeMap<JobId, BTreeMap<u32, Again>> = BTreeMap::new();
    let mut select = db.prepare(&format!("SELECT {AGAIN} FROM again s ORDER BY s.job, s.idx"))?;
    for row in select.query_and_then([], encode::again)? {
        let (task, again) = row?;
        waiting.entry(task.job).or_default().insert(task.index, again);
    }
    Ok(waiting)
}

fn active(db: &Connection) -> Result<Vec<(TaskId, Active)>, Fault> {
    let mut select = db.prepare(&format!("SELECT {ACTIVE} FROM active s ORDER BY s.job, s.idx"))?;
    select.query_and_then([], encode::active)?.collect()
}

fn workers(db: &Connection) -> Result<Vec<Worker>, Fault> {
    let mut select = db.prepare(&format!("SELECT {WORKER} FROM workers w ORDER BY w.id"))?;
    select.query_and_then([], encode::worker)?.collect()
}

/// Checks that every task of a live job waits, waits again, is held by a worker, or has ended.
fn check(snapshot: &Snapshot) -> Result<(), Fault> {
    let mut held: BTreeMap<JobId, u64> = BTreeMap::new();
    for (task, active) in &snapshot.active {
        *held.entry(task.job).or_default() += 1;
        if snapshot.workers.binary_search_by_key(&active.attempt.worker, |worker| worker.id).is_err() {
            return Err(damaged(format!("task {task} is held by a worker that is not known")));
        }
    }
    for LiveJob { job, waiting, again, tally } in &snapshot.jobs {
        let held = held.remove(&job.id).unwrap_or_default();
        let (waiting, again, ended) = (u64::from(waiting.len()), again.len() as u64, u64::from(tally.total()));
        if waiting + again + held + ended != u64::from(job.submission.count) {
            let (id, count) = (job.id, job.submission.count);
            let waiting = format!("{waiting} wait, {again} wait again");
            return Err(damaged(format!("job {id} of {count}: {waiting}, {held} are held, {ended} have ended")));
        }
    }
    match held.into_keys().next() {
        Some(job) => Err(damaged(format!("tasks of job {job} are held, and it is not live"))),
        None => Ok(()),
    }
}
