//! Tasks that have been tried and wait for another attempt: held back first, then ready.

use super::{Due, Scheduler};
use crate::event::{Effects, Record};
use crate::id::{JobId, TaskId};
use crate::job::Job;
use crate::retry::{MAX_ATTEMPTS, mix};
use crate::task::{Active, Again, Outcome, QueueOutcome, Stage};
use crate::time::Time;

impl Scheduler {
    /// What follows an attempt that ended so; `None` if it is the task's end. Nobody tries again what somebody cancels.
    pub(super) fn follow_up(
        &self,
        now: Time,
        job: &Job,
        task: TaskId,
        active: &Active,
        outcome: &Outcome,
    ) -> Option<Again> {
        let tries = match active.stage {
            Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => {
                job.spec().tries_after(active.tries, outcome)?
            }
            Stage::Cancelling { .. } => return None,
        };
        let attempt = active.attempt.number;
        if attempt >= MAX_ATTEMPTS {
            return None;
        }
        let which = mix(task.job.0 ^ mix(u64::from(task.index) << 32 | u64::from(attempt)));
        let not_before = now + job.spec().retry.wait(tries, mix(self.seed ^ which));
        Some(Again { attempt, tries, not_before })
    }

    /// Holds a task back, makes it ready, or takes it out of the wait; the one place that keeps its deadline true.
    pub(super) fn set_again(&mut self, task: TaskId, again: Option<(Again, Patience)>) -> Option<Again> {
        let waited = self.is_waiting(task.job);
        let live = self.jobs.get_mut(&task.job)?;
        let patience = if self.ready.remove(&task) { Patience::Ready } else { Patience::HeldBack };
        let old = live.again.remove(&task.index);
        if let Some(old) = &old {
            self.deadlines.remove(&(again_deadline(&live.job, old, patience), Due::Again(task)));
        }
        if let Some((again, patience)) = again {
            self.deadlines.insert((again_deadline(&live.job, &again, patience), Due::Again(task)));
            if patience == Patience::Ready {
                self.ready.insert(task);
            }
            live.again.insert(task.index, again);
        }
        self.requeue(task.job, waited);
        old
    }

    /// A task has been held back for long enough, or has waited for too long.
    pub(super) fn again_due(&mut self, now: Time, task: TaskId, effects: &mut Effects) {
        if self.ready.contains(&task) {
            return self.end_again(now, task, &QueueOutcome::Expired, effects);
        }
        let Some(again) = self.again(task).cloned() else { return };
        self.set_again(task, Some((again, Patience::Ready)));
        self.place_job(now, task.job, effects);
    }

    /// Ends a task that waits for another attempt.
    pub(super) fn end_again(&mut self, now: Time, task: TaskId, outcome: &QueueOutcome, effects: &mut Effects) {
        if self.set_again(task, None).is_none() {
            return;
        }
        effects.records.push(Record::GivenUp { task, at: now, outcome: outcome.clone() });
        self.count(now, task.job, |live| live.tally.add(outcome.state(), 1), effects);
    }

    /// The tasks of a job that wait for another attempt.
    pub(super) fn all_again(&self, id: JobId) -> Vec<TaskId> {
        self.jobs.get(&id).into_iter().flat_map(|live| live.again.keys()).map(|index| id.task(*index)).collect()
    }

    pub(super) fn again(&self, task: TaskId) -> Option<&Again> {
        self.jobs.get(&task.job)?.again.get(&task.index)
    }

    /// The first task of a job that is ready for another attempt.
    pub(super) fn first_ready(&self, id: JobId) -> Option<TaskId> {
        self.ready.range(id.task(0)..=id.task(u32::MAX)).next().copied()
    }
}

/// Whether a task that waits for another attempt may be given to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    HeldBack,
    Ready,
}

/// Held back until its time; ready for as long as any task of the job may wait.
pub(super) fn again_deadline(job: &Job, again: &Again, patience: Patience) -> Time {
    match patience {
        Patience::HeldBack => again.not_before,
        Patience::Ready => again.not_before + job.spec().queue_timeout,
    }
}
