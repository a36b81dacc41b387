//! Deadlines: every state that is not final has one.

use super::Scheduler;
use crate::event::{CloseReason, Effects, Order};
use crate::fleet::Link;
use crate::id::{JobId, TaskId, WorkerId};
use crate::job::Job;
use crate::task::{Active, LostReason, QueueOutcome, Stage};
use crate::time::Time;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The waiting tasks of a job expire.
    Queue(JobId),
    /// A worker should have said more about an attempt.
    Attempt(TaskId),
    /// A worker should have opened its stream.
    Join(WorkerId),
}

impl Scheduler {
    /// When [`Input::Wake`](crate::Input::Wake) is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    pub(super) fn wake(&mut self, now: Time, effects: &mut Effects) {
        while let Some((_, due)) = self.deadlines.first().copied().filter(|(time, _)| *time <= now) {
            self.due(now, due, effects);
        }
    }

    fn due(&mut self, now: Time, due: Due, effects: &mut Effects) {
        match due {
            Due::Queue(job) => self.end_in_queue(now, job, None, &QueueOutcome::Expired, effects),
            Due::Attempt(task) => self.give_up(now, task, LostReason::Overdue, effects),
            Due::Join(worker) => {
                let session = self.fleet.get(worker).and_then(|member| member.worker.link.session());
                effects.orders.extend(session.map(|session| (session, Order::Close(CloseReason::Late))));
                self.set_link(worker, Link::Gone { since: now }, effects);
            }
        }
    }

    /// Until when the worker must have said more about an attempt. It stops the command itself at the
    /// timeout; the master's deadline is for a worker that does not.
    pub(super) fn attempt_deadline(&self, job: &Job, active: &Active) -> Time {
        let (spec, limits) = (job.spec(), &self.limits);
        match &active.stage {
            Stage::Assigned => active.attempt.assigned + limits.start_timeout,
            Stage::Running { started } => *started + spec.timeout + spec.kill_grace + limits.stop_margin,
            Stage::Cancelling { requested, .. } => *requested + spec.kill_grace + limits.stop_margin,
        }
    }
}
