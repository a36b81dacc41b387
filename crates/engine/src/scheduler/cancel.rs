//! Cancelling: at once what waits, by order what runs.

use super::Scheduler;
use crate::event::{Answer, Effects, Order, Record};
use crate::id::{JobId, TaskId};
use crate::task::{Active, QueueOutcome, Stage};
use crate::time::Time;

impl Scheduler {
    pub(super) fn cancel_task(&mut self, now: Time, task: TaskId, by: &str, effects: &mut Effects) -> Answer {
        let waits = self.jobs.get(&task.job).is_some_and(|live| live.waiting.contains(task.index));
        if waits {
            let outcome = QueueOutcome::Cancelled { by: by.to_owned() };
            self.end_in_queue(now, task.job, Some(task.index), &outcome, effects);
            return Answer::Done;
        }
        if self.again(task).is_some() {
            self.end_again(now, task, &QueueOutcome::Cancelled { by: by.to_owned() }, effects);
            return Answer::Done;
        }
        match self.active.contains_key(&task) {
            true => self.stop(now, task, by, effects),
            false => return Answer::NotLive,
        }
        Answer::Done
    }

    pub(super) fn cancel_job(&mut self, now: Time, job: JobId, by: &str, effects: &mut Effects) -> Answer {
        if !self.jobs.contains_key(&job) {
            return Answer::NotLive;
        }
        let active: Vec<TaskId> = self.active.range(job.task(0)..=job.task(u32::MAX)).map(|(task, _)| *task).collect();
        for task in active {
            self.stop(now, task, by, effects);
        }
        let outcome = QueueOutcome::Cancelled { by: by.to_owned() };
        for task in self.all_again(job) {
            self.end_again(now, task, &outcome, effects);
        }
        self.end_in_queue(now, job, None, &outcome, effects);
        Answer::Done
    }

    /// Orders a task's worker to stop it, once: who asks a second time changes nothing.
    fn stop(&mut self, now: Time, task: TaskId, by: &str, effects: &mut Effects) {
        let Some(active) = self.active.get(&task) else { return };
        let Some(live) = self.jobs.get(&task.job) else { return };
        let until = match &active.stage {
            Stage::Assigned | Stage::Running { .. } => self.stop_deadline(now, &live.job),
            Stage::Unreachable { until, .. } => *until,
            Stage::Cancelling { .. } => return,
        };
        let stage = Stage::Cancelling { started: active.started(), requested: now, by: by.to_owned(), until };
        let active = Active { stage, ..active.clone() };
        self.order_stop(task, &active, effects);
        self.advance(task, active, effects);
    }

    /// Tells the worker that holds a task to stop it. One that is not there is told when it is back.
    pub(super) fn order_stop(&self, task: TaskId, active: &Active, effects: &mut Effects) {
        let holder = self.fleet.get(active.attempt.worker).filter(|member| member.held.contains(&task));
        let session = holder.and_then(|member| member.worker.link.session());
        let order = Order::Stop(task.attempt(active.attempt.number));
        effects.orders.extend(session.map(|session| (session, order)));
    }

    /// Moves a live attempt on to its next stage.
    pub(super) fn advance(&mut self, task: TaskId, active: Active, effects: &mut Effects) {
        let Some(job) = self.jobs.get(&task.job).map(|live| live.job.clone()) else { return };
        effects.records.push(Record::Moved(task, active.clone()));
        self.set_active(&job, task, Some(active));
    }
}
