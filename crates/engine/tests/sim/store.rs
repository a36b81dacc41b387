//! A store that keeps what was committed, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sortie_engine::{
    Active, Job, JobId, LiveJob, Ranges, Record, Snapshot, StateName, Tally, TaskId, Worker, WorkerId,
};

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) jobs: BTreeMap<JobId, Arc<Job>>,
    pub(crate) ended: BTreeMap<TaskId, StateName>,
    waiting: BTreeSet<TaskId>,
    active: BTreeMap<TaskId, Active>,
    tallies: BTreeMap<JobId, (Tally, bool)>,
    workers: BTreeMap<WorkerId, Worker>,
}

impl Store {
    pub(crate) fn commit(&mut self, record: &Record) {
        match record {
            Record::Submitted(job) => {
                self.waiting.extend((0..job.submission.count).map(|index| job.id.task(index)));
                self.tallies.insert(job.id, Default::default());
                assert!(self.jobs.insert(job.id, job.clone()).is_none(), "job {} is submitted twice", job.id);
            }
            Record::Placed(task, active) => {
                assert!(self.waiting.remove(task), "{task} is placed and does not wait");
                self.active.insert(*task, active.clone());
            }
            Record::Moved(task, active) => {
                let old = self.active.insert(*task, active.clone()).map(|old| old.attempt);
                assert_eq!(old.as_ref(), Some(&active.attempt), "{task} moves");
            }
            Record::Ended(task, ended) => {
                assert!(self.active.remove(task).is_some(), "{task} ends and is not held");
                let old = self.ended.insert(*task, ended.outcome.state());
                assert!(old.is_none(), "{task} ends twice: {old:?}");
            }
            Record::EndedInQueue { job, range, at: _, outcome } => {
                for task in range.clone().map(|index| job.task(index)) {
                    assert!(self.waiting.remove(&task), "{task} ends in the queue and does not wait");
                    let old = self.ended.insert(task, outcome.state());
                    assert!(old.is_none(), "{task} ends twice: {old:?}");
                }
            }
            Record::Counted { job, tally, ended } => _ = self.tallies.insert(*job, (*tally, ended.is_some())),
            Record::Worker(worker) => _ = self.workers.insert(worker.id, worker.clone()),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let live = self.jobs.values().filter(|job| !self.tallies[&job.id].1);
        let live = live.map(|job| {
            let mut waiting = Ranges::default();
            for task in self.waiting.range(job.id.task(0)..=job.id.task(u32::MAX)) {
                waiting.push(task.index..task.index + 1);
            }
            LiveJob { job: job.clone(), waiting, tally: self.tallies[&job.id].0 }
        });
        Snapshot {
            next_job: JobId(self.jobs.last_key_value().map_or(1, |(id, _)| id.0 + 1)),
            jobs: live.collect(),
            active: self.active.iter().map(|(task, active)| (*task, active.clone())).collect(),
            workers: self.workers.values().cloned().collect(),
        }
    }

    /// Whether every task has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.active.is_empty()
    }
}
