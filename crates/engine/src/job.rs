//! A job: what one submission made, and how its tasks have ended so far.

use crate::id::JobId;
use crate::spec::TaskSpec;
use crate::task::StateName;
use crate::time::Time;

/// What a client submits: a spec, and how many tasks shall share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// What every task of the job is.
    pub spec: TaskSpec,
    /// How many tasks there are, from 1.
    pub count: u32,
    /// The trace that the submission belongs to, as W3C `traceparent`.
    pub traceparent: Option<String>,
    /// What makes a repeat of the submission known as one.
    pub key: Option<String>,
}

/// A job as it was submitted; nothing in it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// When it was submitted.
    pub submitted: Time,
    /// What was submitted.
    pub submission: Submission,
}

/// How many tasks of a job have come to each end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks that succeeded.
    pub succeeded: u32,
    /// Tasks that failed.
    pub failed: u32,
    /// Tasks that timed out.
    pub timed_out: u32,
    /// Tasks that were cancelled.
    pub cancelled: u32,
    /// Tasks that were lost.
    pub lost: u32,
    /// Tasks that expired in the queue.
    pub expired: u32,
}

/// How many tasks of a job are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that wait.
    pub queued: u32,
    /// Tasks whose worker has been told.
    pub assigned: u32,
    /// Tasks that run.
    pub running: u32,
    /// Tasks whose worker is not there.
    pub unreachable: u32,
    /// Tasks that are being stopped.
    pub cancelling: u32,
    /// Tasks that have ended.
    pub ended: Tally,
}

impl Counts {
    /// The job's state: `queued` until a task leaves the queue, `running` until all have ended, then the worst
    /// that any task came to.
    #[must_use]
    pub fn state(&self) -> StateName {
        let held = self.assigned + self.running + self.unreachable + self.cancelling;
        match (self.queued, held, self.ended.total()) {
            (0, 0, _) => self.ended.worst(),
            (_, 0, 0) => StateName::Queued,
            (_, _, _) => StateName::Running,
        }
    }

    /// How many tasks are in `state`.
    #[must_use]
    pub fn of(&self, state: StateName) -> u32 {
        match state {
            StateName::Queued => self.queued,
            StateName::Assigned => self.assigned,
            StateName::Running => self.running,
            StateName::Unreachable => self.unreachable,
            StateName::Cancelling => self.cancelling,
            StateName::Succeeded => self.ended.succeeded,
            StateName::Failed => self.ended.failed,
            StateName::TimedOut => self.ended.timed_out,
            StateName::Cancelled => self.ended.cancelled,
            StateName::Lost => self.ended.lost,
            StateName::Expired => self.ended.expired,
        }
    }
}

impl Submission {
    /// Whether both ask for the same, whoever asks and however often.
    #[must_use]
    pub fn is_same(&self, other: &Submission) -> bool {
        (&self.spec, self.count) == (&other.spec, other.count)
    }
}

impl Job {
    /// The spec that the job's tasks share.
    #[must_use]
    pub fn spec(&self) -> &TaskSpec {
        &self.submission.spec
    }

    /// Until when the job's tasks may wait.
    #[must_use]
    pub fn queue_deadline(&self) -> Time {
        self.submitted + self.spec().queue_timeout
    }
}

impl Tally {
    /// Counts `n` more tasks that ended in `state`; states that are not final count nothing.
    pub fn add(&mut self, state: StateName, n: u32) {
        match state {
            StateName::Succeeded => self.succeeded += n,
            StateName::Failed => self.failed += n,
            StateName::TimedOut => self.timed_out += n,
            StateName::Cancelled => self.cancelled += n,
            StateName::Lost => self.lost += n,
            StateName::Expired => self.expired += n,
            StateName::Queued
            | StateName::Assigned
            | StateName::Running
            | StateName::Unreachable
            | StateName::Cancelling => {}
        }
    }

    /// How many tasks have ended.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.succeeded + self.failed + self.timed_out + self.cancelled + self.lost + self.expired
    }

    /// The state of a job whose tasks have all ended: the worst that any task came to.
    #[must_use]
    pub fn worst(&self) -> StateName {
        let worst_first = [
            (self.failed, StateName::Failed),
            (self.timed_out, StateName::TimedOut),
            (self.lost, StateName::Lost),
            (self.expired, StateName::Expired),
            (self.cancelled, StateName::Cancelled),
        ];
        let found = worst_first.into_iter().find(|(count, _)| *count > 0);
        found.map_or(StateName::Succeeded, |(_, state)| state)
    }
}
