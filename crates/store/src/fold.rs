//! A batch of records, folded to what has to be written: the last state of each thing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use sortie_engine::{
    Active, Again, AttemptId, Ended, Job, JobId, Output, QueueOutcome, Record, Tally, TaskId, Time, Worker, WorkerId,
};

/// The number of the attempt that a task waits for in `waiting`; for every later one it waits in `again`.
const FIRST_ATTEMPT: u32 = 1;

/// What is committed in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The scheduler's records, in its order.
    pub records: Vec<Record>,
    /// What attempts wrote.
    pub outputs: Vec<(AttemptId, Output)>,
}

/// What a batch's records come to.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Jobs that are new.
    pub(crate) submitted: Vec<Arc<Job>>,
    /// What waits for its first attempt no more, by job, in runs as long as the order of the records allows.
    pub(crate) taken: BTreeMap<JobId, Vec<Range<u32>>>,
    /// What ended without an attempt.
    pub(crate) unplaced: Vec<Unplaced>,
    /// Tasks that are with a worker, or were.
    pub(crate) held: BTreeMap<TaskId, Held>,
    /// How far jobs are.
    pub(crate) counted: BTreeMap<JobId, (Tally, Option<Time>)>,
    /// What is known of workers.
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
}

/// Tasks that ended while they waited.
#[derive(Debug)]
pub(crate) struct Unplaced {
    pub(crate) job: JobId,
    pub(crate) range: Range<u32>,
    pub(crate) at: Time,
    pub(crate) outcome: QueueOutcome,
}

/// The way of a task that has been with a worker, through one batch.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) from: Origin,
    /// The attempts that ended on the way and were followed by another one, the oldest first.
    pub(crate) past: Vec<Ended>,
    pub(crate) to: Place,
}

/// Where a task stood before the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Waiting,
    Again,
    Active,
}

/// Where a task stands after the batch.
#[derive(Debug)]
pub(crate) enum Place {
    Again(Again),
    Active(Active),
    Ended(Ended),
    Unplaced(Unplaced),
}

impl Folded {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        let mut folded = Folded::default();
        for record in records {
            folded.add(record);
        }
        folded
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Submitted(job) => self.submitted.push(job),
            Record::Placed(task, active) if active.attempt.number == FIRST_ATTEMPT => {
                self.take(task.job, task.index..task.index + 1);
                self.go(task, Origin::Waiting, Place::Active(active));
            }
            Record::Placed(task, active) => _ = self.go(task, Origin::Again, Place::Active(active)),
            Record::Moved(task, active) => _ = self.go(task, Origin::Active, Place::Active(active)),
            Record::Ended(task, ended) => _ = self.go(task, Origin::Active, Place::Ended(ended)),
            Record::Retried(task, ended, again) => {
                self.go(task, Origin::Active, Place::Again(again)).past.push(ended);
            }
            Record::GivenUp { task, at, outcome } => {
                let unplaced = Unplaced { job: task.job, range: task.index..task.index + 1, at, outcome };
                self.go(task, Origin::Again, Place::Unplaced(unplaced));
            }
            Record::EndedInQueue { job, range, at, outcome } => {
                self.take(job, range.clone());
                self.unplaced.push(Unplaced { job, range, at, outcome });
            }
            Record::Counted { job, tally, ended } => _ = self.counted.insert(job, (tally, ended)),
            Record::Worker(worker) => _ = self.workers.insert(worker.id, worker),
        }
    }

    /// Notes that tasks wait no more; the queue gives them out in ascending order, which makes long runs.
    fn take(&mut self, job: JobId, range: Range<u32>) {
        let runs = self.taken.entry(job).or_default();
        match runs.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            Some(_) | None => runs.push(range),
        }
    }

    /// Notes where a task goes. Where it stood before the batch is where the batch's first record of it takes it from.
    fn go(&mut self, task: TaskId, from: Origin, to: Place) -> &mut Held {
        match self.held.entry(task) {
            Entry::Occupied(held) => {
                let held = held.into_mut();
                held.to = to;
                held
            }
            Entry::Vacant(held) => held.insert(Held { from, past: Vec::new(), to }),
        }
    }
}

impl Held {
    /// Whether the task is still with the worker, in the attempt that the batch found.
    pub(crate) fn stays(&self) -> bool {
        self.from == Origin::Active && self.past.is_empty() && matches!(self.to, Place::Active(_))
    }
}

/// What is left of the tasks `0..count` when the runs are taken out.
pub(crate) fn remainder(count: u32, mut taken: Vec<Range<u32>>) -> Vec<Range<u32>> {
    taken.sort_unstable_by_key(|run| run.start);
    let starts = std::iter::once(0).chain(taken.iter().map(|run| run.end));
    let ends = taken.iter().map(|run| run.start).chain(std::iter::once(count));
    starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(count: u32, taken: &[Range<u32>]) -> Vec<(u32, u32)> {
        remainder(count, taken.to_vec()).into_iter().map(|gap| (gap.start, gap.end)).collect()
    }

    #[test]
    fn what_is_not_taken_remains() {
        assert_eq!(gaps(10, &[]), [(0, 10)]);
        assert_eq!(gaps(10, &[5..7, 0..2, 2..3]), [(3, 5), (7, 10)]);
        assert_eq!(gaps(3, &[1..3, 0..1]), []);
    }

    #[test]
    fn neighbours_are_one_run() {
        let mut folded = Folded::default();
        for index in [0, 1, 2, 7, 3] {
            folded.take(JobId(1), index..index + 1);
        }
        assert_eq!(folded.taken[&JobId(1)], [0..3, 7..8, 3..4]);
    }
}
