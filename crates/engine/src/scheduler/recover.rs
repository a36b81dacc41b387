//! Taking up what a store remembers.

use std::sync::Arc;

use super::session::cut_off;
use super::{Due, Scheduler};
use crate::event::{Effects, Limits};
use crate::fleet::{Link, Worker};
use crate::id::{JobId, TaskId};
use crate::job::{Job, Tally};
use crate::ranges::Ranges;
use crate::task::{Active, LostReason};
use crate::time::Time;

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveJob {
    /// What was submitted.
    pub job: Arc<Job>,
    /// Which of its tasks wait.
    pub waiting: Ranges,
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
    pub fn restore(limits: Limits, snapshot: Snapshot) -> Self {
        let mut scheduler = Scheduler::new(limits);
        scheduler.next_job = snapshot.next_job;
        for worker in snapshot.workers {
            if let Link::Joining { until, .. } = worker.link {
                scheduler.deadlines.insert((until, Due::Join(worker.id)));
            }
            scheduler.fleet.insert(worker);
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

    /// Takes up a store's state in a new process: no session has outlived the old one, and what waits, waits.
    #[must_use]
    pub fn recover(limits: Limits, snapshot: Snapshot, now: Time, effects: &mut Effects) -> Self {
        let mut scheduler = Scheduler::restore(limits, snapshot);
        let linked = scheduler.fleet.iter().filter(|member| member.worker.link.session().is_some());
        let linked: Vec<_> = linked.map(|member| member.worker.id).collect();
        for worker in linked {
            scheduler.set_link(worker, Link::Gone { since: now }, effects);
        }
        let active: Vec<_> = scheduler
            .active
            .iter()
            .map(|(task, active)| (*task, cut_off(active, LostReason::MasterRestarted)))
            .collect();
        for (task, outcome) in active {
            scheduler.release(now, task, outcome, effects);
        }
        scheduler
    }
}
