//! Listing jobs, and how many of their tasks are in each state.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use sortie_engine::{Counts, Job, JobId, StateName, Tally, Time};

use crate::encode::{self, ASSIGNED, CANCELLING, JOB, RUNNING};
use crate::error::{Fault, damaged};
use crate::filter::{JobFilter, MAX_PAGE};
use crate::query::{OfJob, Query};

/// A job as it stands in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// What was submitted.
    pub job: Arc<Job>,
    /// How many of its tasks are in each state.
    pub counts: Counts,
    /// When the last of its tasks ended, once it has.
    pub ended: Option<Time>,
}

const LIVE: &str = "j.ended IS NULL";
const BEGUN: &str = "j.succeeded + j.failed + j.timed_out + j.cancelled + j.lost + j.expired > 0";
const HELD: &str = "EXISTS (SELECT 1 FROM active a WHERE a.job = j.id)";

/// Jobs that one index finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Any,
    /// Live jobs none of whose tasks has left the queue.
    Queued,
    /// Live jobs of whose tasks workers hold some.
    Held,
    /// Live jobs of whose tasks some have ended.
    Begun,
    Successful,
    Unsuccessful,
}

/// The jobs after `after` that the filter lets through, the newest first.
pub(crate) fn page(
    db: &Connection,
    filter: &JobFilter,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<JobRow>, Fault> {
    let limit = limit.min(MAX_PAGE);
    let mut jobs = Vec::new();
    for class in classes(&filter.states) {
        let select = format!("SELECT {JOB} FROM jobs j CROSS JOIN specs x");
        jobs.extend(query(class, filter, after).rows(db, &select, "j.id DESC", limit, encode::job)?);
    }
    jobs.sort_unstable_by_key(|(job, _, _)| Reverse(job.id));
    // A job of which some tasks are held and some have ended is found as both.
    jobs.dedup_by_key(|(job, _, _)| job.id);
    jobs.truncate(limit as usize);
    jobs.into_iter().map(|(job, tally, ended)| row(db, job, tally, ended)).collect()
}

/// One job.
pub(crate) fn one(db: &Connection, id: JobId) -> Result<Option<JobRow>, Fault> {
    let found = find(db, id)?;
    found.map(|(job, tally, ended)| row(db, job, tally, ended)).transpose()
}

/// One job, without its counts.
pub(crate) fn job(db: &Connection, id: JobId) -> Result<Option<Arc<Job>>, Fault> {
    Ok(find(db, id)?.map(|(job, _, _)| Arc::new(job)))
}

fn find(db: &Connection, id: JobId) -> Result<Option<(Job, Tally, Option<Time>)>, Fault> {
    let sql = format!("SELECT {JOB} FROM jobs j CROSS JOIN specs x WHERE j.id = ? AND x.job = j.id");
    let mut select = db.prepare_cached(&sql)?;
    select.query_row([encode::id(id)], |row| Ok(encode::job(row))).optional()?.transpose()
}

/// The classes that have jobs in the states that are asked for.
fn classes(states: &[StateName]) -> BTreeSet<Class> {
    match states.is_empty() {
        true => [Class::Any].into(),
        false => states.iter().flat_map(|state| classes_of(*state)).copied().collect(),
    }
}

/// The classes of the jobs in a state; some states are only a task's.
fn classes_of(state: StateName) -> &'static [Class] {
    match state {
        StateName::Queued => &[Class::Queued],
        StateName::Running => &[Class::Held, Class::Begun],
        StateName::Assigned | StateName::Unreachable | StateName::Cancelling => &[],
        StateName::Succeeded => &[Class::Successful],
        StateName::Failed | StateName::TimedOut | StateName::Cancelled | StateName::Lost | StateName::Expired => {
            &[Class::Unsuccessful]
        }
    }
}

fn query(class: Class, filter: &JobFilter, after: Option<JobId>) -> Query {
    let mut query = Query::default();
    query.only("x.job = j.id", []);
    match class {
        Class::Any => {}
        Class::Queued => query.only(format!("{LIVE} AND NOT {BEGUN} AND NOT {HELD}"), []),
        Class::Held => query.only(format!("{LIVE} AND j.id IN (SELECT job FROM active)"), []),
        Class::Begun => query.only(format!("{LIVE} AND {BEGUN}"), []),
        Class::Successful => query.only("j.ended IS NOT NULL AND j.succeeded = j.count", []),
        Class::Unsuccessful => {
            query.only("j.ended IS NOT NULL AND j.succeeded < j.count", []);
            let worst: Vec<String> = filter.states.iter().filter_map(|state| worst(*state)).collect();
            query.only(format!("({})", worst.join(" OR ")), []);
        }
    }
    if let Some(after) = after {
        query.only("j.id < ?", [encode::id(after).into()]);
    }
    OfJob::from(filter).add_to(&mut query);
    query
}

/// What tells the ends of unsuccessful jobs apart. Says what [`Tally::worst`] says.
fn worst(state: StateName) -> Option<String> {
    const WORST_FIRST: [(StateName, &str); 5] = [
        (StateName::Failed, "j.failed"),
        (StateName::TimedOut, "j.timed_out"),
        (StateName::Lost, "j.lost"),
        (StateName::Expired, "j.expired"),
        (StateName::Cancelled, "j.cancelled"),
    ];
    let at = WORST_FIRST.iter().position(|(name, _)| *name == state)?;
    let worse: String = WORST_FIRST[..at].iter().map(|(_, column)| format!(" AND {column} = 0")).collect();
    Some(format!("({} > 0{worse})", WORST_FIRST[at].1))
}

fn row(db: &Connection, job: Job, tally: Tally, ended: Option<Time>) -> Result<JobRow, Fault> {
    let mut counts = Counts { ended: tally, ..Counts::default() };
    if ended.is_none() {
        count_held(db, job.id, &mut counts)?;
    }
    let known = [counts.assigned, counts.running, counts.unreachable, counts.cancelling, tally.total()];
    let waiting = known.into_iter().try_fold(job.submission.count, u32::checked_sub);
    counts.queued = waiting.ok_or_else(|| damaged(format!("job {} counts more tasks than it has", job.id)))?;
    Ok(JobRow { job: Arc::new(job), counts, ended })
}

fn count_held(db: &Connection, job: JobId, counts: &mut Counts) -> Result<(), Fault> {
    let mut select = db.prepare_cached("SELECT stage, count(*) FROM active WHERE job = ? GROUP BY stage")?;
    let mut rows = select.query([encode::id(job)])?;
    while let Some(row) = rows.next()? {
        let count = row.get(1)?;
        match row.get(0)? {
            ASSIGNED => counts.assigned = count,
            RUNNING => counts.running = count,
            encode::UNREACHABLE => counts.unreachable = count,
            CANCELLING => counts.cancelling = count,
            other => return Err(damaged(format!("a stage of job {job}'s tasks is {other}"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::{own, reading};

    fn plan(db: &Connection, class: Class) -> String {
        let filter = JobFilter { states: StateName::ALL.to_vec(), ..JobFilter::default() };
        let query = query(class, &filter, Some(JobId(9)));
        query.plan(db, "SELECT j.id FROM jobs j CROSS JOIN specs x", "j.id DESC")
    }

    #[test]
    fn each_class_has_its_index() {
        let dir = tempfile::tempdir().expect("a directory");
        let owned = own(dir.path()).expect("a directory");
        let db = reading(&owned.path).expect("a connection");
        let indices = [
            (Class::Any, "PRIMARY KEY"),
            (Class::Queued, "jobs_live"),
            (Class::Held, "PRIMARY KEY"),
            (Class::Begun, "jobs_begun"),
            (Class::Successful, "PRIMARY KEY"),
            (Class::Unsuccessful, "jobs_unsuccessful"),
        ];
        for (class, index) in indices {
            let plan = plan(&db, class);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{class:?}: {plan}");
        }
    }
}
