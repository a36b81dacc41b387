//! Deadlines: every state that is not final has one.

use super::Scheduler;
use super::adopt::cut_off;
use crate::event::{CloseReason, Effects, Order};
use crate::fleet::{Link, Member};
use crate::id::{JobId, TaskId, WorkerId};
use crate::job::Job;
use crate::task::{Active, LostReason, QueueOutcome, Stage};
use crate::time::Time;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The tasks of a job that wait for their first attempt expire.
    Queue(JobId),
    /// A task that waits for another attempt is ready for it, or expires.
    Again(TaskId),
    /// A worker should have said more about an attempt.
    Attempt(TaskId),
    /// A worker should have opened its stream, or have been heard of.
    Worker(WorkerId),
}

impl Scheduler {
    /// When [`Input::Wake`](crate::Input::Wake) is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// How many tasks are in a state whose deadline passed before `time`.
    #[must_use]
    pub fn overdue(&self, time: Time) -> usize {
        let past = self.deadlines.iter().take_while(|(deadline, _)| *deadline < time);
        past.filter(|(_, due)| !matches!(due, Due::Worker(_))).count()
    }

    pub(super) fn wake(&mut self, now: Time, effects: &mut Effects) {
        // What is to be given away comes last, so that no worker gets it whose own time is over.
        let past = self.deadlines.iter().take_while(|(time, _)| *time <= now);
        let ends: Vec<(Time, Due)> = past.filter(|(_, due)| !matches!(due, Due::Again(_))).copied().collect();
        for end in ends {
            if self.deadlines.contains(&end) {
                self.due(now, end.1, effects);
            }
        }
        while let Some((_, due)) = self.deadlines.first().copied().filter(|(time, _)| *time <= now) {
            self.due(now, due, effects);
        }
    }

    fn due(&mut self, now: Time, due: Due, effects: &mut Effects) {
        match due {
            Due::Queue(job) => self.end_in_queue(now, job, None, &QueueOutcome::Expired, effects),
            Due::Again(task) => self.again_due(now, task, effects),
            Due::Attempt(task) if self.is_cut_off(task) => {
                let Some(active) = self.active.get(&task) else { return };
                let outcome = cut_off(active, LostReason::LeaseEnded);
                self.end_attempt(now, task, outcome, None, effects);
            }
            Due::Attempt(task) => self.give_up(now, task, LostReason::Overdue, effects),
            Due::Worker(worker) => self.worker_due(now, worker, effects),
        }
    }

    /// Ends the session of a worker that did not open its stream, or has been silent for its whole lease.
    fn worker_due(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) {
        let Some(link) = self.fleet.get(worker).map(|member| member.worker.link) else { return };
        let (session, reason) = match link {
            Link::Joining { session, .. } => (session, CloseReason::Late),
            Link::Connected { session, .. } | Link::Leaving { session, .. } => (session, CloseReason::Silent),
            Link::Unreachable { .. } | Link::Gone { .. } => {
                self.set_link(worker, Link::Gone { since: now }, effects);
                return;
            }
        };
        effects.orders.push((session, Order::Close(reason)));
        self.disconnect(now, session, effects);
    }

    /// Until when the master counts on a worker that was last heard of at `heard`.
    pub(super) fn lease_end(&self, heard: Time) -> Time {
        heard + self.limits.lease + self.limits.lease_margin
    }

    /// Until when a worker must have stopped a command that it is told to stop now.
    pub(super) fn stop_deadline(&self, now: Time, job: &Job) -> Time {
        now + job.spec().kill_grace + self.limits.stop_margin
    }

    /// Until when a worker must have been heard of.
    pub(super) fn worker_deadline(&self, member: &Member) -> Option<Time> {
        match member.worker.link {
            Link::Joining { until, .. } | Link::Unreachable { until, .. } => Some(until),
            Link::Connected { .. } | Link::Leaving { .. } => Some(self.lease_end(member.heard)),
            Link::Gone { .. } => None,
        }
    }

    /// Until when the worker must have said more about an attempt. It stops the command itself at the
    /// timeout; the master's deadline is for a worker that does not. One that is back has time to say what it
    /// could not: a master that was away for long must not call an end overdue that it is just about to hear.
    pub(super) fn attempt_deadline(&self, job: &Job, active: &Active) -> Time {
        let (spec, limits) = (job.spec(), &self.limits);
        let patience = self.fleet.get(active.attempt.worker).map_or(Time::default(), |member| member.patience);
        match &active.stage {
            Stage::Assigned => patience.max(active.attempt.assigned + limits.start_timeout),
            Stage::Running { started } => patience.max(*started + spec.timeout + spec.kill_grace + limits.stop_margin),
            Stage::Unreachable { until, .. } | Stage::Cancelling { until, .. } => *until,
        }
    }
}
