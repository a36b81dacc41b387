//! Taking up what a store remembers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Due, Scheduler};
use crate::event::{Effects, Limits};
use crate::fleet::{Link, Member, Worker};
use crate::id::{JobId, TaskId};
use crate::job::{Job, Tally};
use crate::ranges::Ranges;
use crate::task::{Active, Again};
use crate::time::Time;

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveJob {
    /// What was submitted.
    pub job: Arc<Job>,
    /// Which of its tasks wait for their first attempt.
    pub waiting: Ranges,
    /// Which wait for another one, by their indices.
    pub again: BTreeMap<u32, Again>,
    /// How many of its tasks have ended.
    pub tally: Tally,
}

/// All of a scheduler's state that a store has to give back. The rest is derived from it, or belongs to sessions,
/// which do not outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The id that the next job gets.
    pub next_job: JobId,
    /// Jobs that have not ended, by id.
    pub jobs: Vec<LiveJob>,
    /// Tasks that a worker holds, by id.
    pub active: Vec<(TaskId, Active)>,
    /// Every worker that ever joined, by id.
    pub workers: Vec<Worker>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot { next_job: JobId(1), jobs: Vec::new(), active: Vec::new(), workers: Vec::new() }
    }
}

impl Scheduler {
    /// The state that a store must give back.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            next_job: self.next_job,
            jobs: self.jobs.values().cloned().collect(),
            active: self.active.iter().map(|(task, active)| (*task, active.clone())).collect(),
            workers: self.fleet.iter().map(|member| member.worker.clone()).collect(),
        }
    }

    /// The state that `snapshot` was taken of, but for the room that given-up attempts take until their session ends.
    #[must_use]
    pub fn restore(limits: Limits, seed: u64, snapshot: Snapshot) -> Self {
        let mut scheduler = Scheduler::new(limits, seed);
        scheduler.next_job = snapshot.next_job;
        for worker in snapshot.workers {
            let id = worker.id;
            scheduler.fleet.insert(worker);
            let deadline = scheduler.fleet.get(id).and_then(|member| scheduler.worker_deadline(member));
            scheduler.deadlines.extend(deadline.map(|deadline| (deadline, Due::Worker(id))));
        }
        for live in snapshot.jobs {
            scheduler.insert_job(live);
        }
        for (task, active) in snapshot.active {
            let Some(job) = scheduler.jobs.get(&task.job).map(|live| live.job.clone()) else { continue };
            scheduler.fleet.update(active.attempt.worker, |member| {
                member.used += job.spec().needs.slots;
                member.held.insert(task);
            });
            scheduler.set_active(&job, task, Some(active));
        }
        scheduler
    }

    /// Takes up a store's state in a new process. No session has outlived the old one, but commands have: the master
    /// waits out the leases before it gives anything away, and adopts what comes back with its worker.
    #[must_use]
    pub fn recover(limits: Limits, seed: u64, snapshot: Snapshot, now: Time, effects: &mut Effects) -> Self {
        let mut scheduler = Scheduler::restore(limits, seed, snapshot);
        let until = scheduler.lease_end(now);
        // A worker that is gone may have left orphans: what it holds then is known by the attempts alone.
        let is_done = |member: &&Member| matches!(member.worker.link, Link::Gone { .. }) && member.held.is_empty();
        let there = scheduler.fleet.iter().filter(|member| !is_done(member));
        let there: Vec<_> = there.map(|member| (member.worker.id, member.held.is_empty())).collect();
        for (worker, idle) in there {
            let link = if idle { Link::Gone { since: now } } else { Link::Unreachable { since: now, until } };
            scheduler.set_link(worker, link, effects);
        }
        let active: Vec<_> = scheduler.active.keys().copied().collect();
        for task in active {
            scheduler.cut(now, task, until, effects);
        }
        scheduler
    }
}
