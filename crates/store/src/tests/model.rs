//! What the records say, task by task: the plain truth that the store's ranges and indices are checked against.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_engine::{Counts, Job, JobId, Record, Selector, StateName, TaskId, TaskState, Time, Worker, WorkerId};

use crate::{JobFilter, JobRow, TaskFilter, TaskRow, WorkerFilter, WorkerRow};

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) jobs: BTreeMap<JobId, (Arc<Job>, Option<Time>)>,
    pub(super) tasks: BTreeMap<TaskId, TaskState>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
}

impl Model {
    pub(super) fn apply(&mut self, record: &Record) {
        match record.clone() {
            Record::Submitted(job) => {
                let tasks = (0..job.submission.count).map(|index| (job.id.task(index), TaskState::Queued));
                self.tasks.extend(tasks);
                self.jobs.insert(job.id, (job, None));
            }
            Record::Placed(task, active) | Record::Moved(task, active) => {
                self.tasks.insert(task, TaskState::Active(active));
            }
            Record::Ended(task, ended) => _ = self.tasks.insert(task, TaskState::Ended(ended)),
            Record::EndedInQueue { job, range, at, outcome } => {
                let state = TaskState::EndedInQueue { at, outcome };
                self.tasks.extend(range.map(|index| (job.task(index), state.clone())));
            }
            Record::Counted { job, ended, .. } => self.jobs.get_mut(&job).expect("a job").1 = ended,
            Record::Worker(worker) => _ = self.workers.insert(worker.id, worker),
        }
    }

    pub(super) fn tasks(&self, filter: &TaskFilter) -> Vec<TaskRow> {
        let rows = self.tasks.iter().rev().map(|(id, state)| {
            let worker = worker_of(state).map(|worker| self.workers[&worker].hello.name.clone());
            TaskRow { id: *id, job: self.jobs[&id.job].0.clone(), state: state.clone(), worker }
        });
        let TaskFilter { job, states, worker, name, selector, submitted_from, submitted_until } = filter;
        let rows = rows.filter(|row| {
            job.is_none_or(|job| row.id.job == job)
                && (states.is_empty() || states.contains(&row.state.name()))
                && (worker.is_none() || row.worker == *worker)
                && of_job(&row.job, name.as_ref(), selector, *submitted_from, *submitted_until)
        });
        rows.collect()
    }

    pub(super) fn jobs(&self, filter: &JobFilter) -> Vec<JobRow> {
        let rows = self.jobs.values().rev();
        let rows = rows.map(|(job, ended)| JobRow { job: job.clone(), counts: self.counts(job.id), ended: *ended });
        let JobFilter { states, name, selector, submitted_from, submitted_until } = filter;
        let rows = rows.filter(|row| {
            (states.is_empty() || states.contains(&row.counts.state()))
                && of_job(&row.job, name.as_ref(), selector, *submitted_from, *submitted_until)
        });
        rows.collect()
    }

    pub(super) fn workers(&self, filter: &WorkerFilter) -> Vec<WorkerRow> {
        let mut workers: Vec<&Worker> = self.workers.values().collect();
        workers.retain(|worker| {
            (filter.states.is_empty() || filter.states.iter().any(|state| state == worker.link.as_str()))
                && filter.selector.matches(&worker.hello.labels)
        });
        workers.sort_by_key(|worker| worker.hello.name.clone());
        workers.into_iter().map(|worker| self.worker(worker)).collect()
    }

    fn worker(&self, worker: &Worker) -> WorkerRow {
        let held = self.tasks.iter().filter(|(_, state)| match state {
            TaskState::Active(active) => active.attempt.worker == worker.id,
            TaskState::Queued | TaskState::Ended(_) | TaskState::EndedInQueue { .. } => false,
        });
        let slots: Vec<u32> = held.map(|(task, _)| self.jobs[&task.job].0.spec().needs.slots).collect();
        WorkerRow { worker: worker.clone(), running: slots.len() as u32, used: slots.iter().sum() }
    }

    fn counts(&self, job: JobId) -> Counts {
        let mut counts = Counts::default();
        for (_, state) in self.tasks.range(job.task(0)..=job.task(u32::MAX)) {
            match state.name() {
                StateName::Queued => counts.queued += 1,
                StateName::Assigned => counts.assigned += 1,
                StateName::Running => counts.running += 1,
                StateName::Unreachable => counts.unreachable += 1,
                StateName::Cancelling => counts.cancelling += 1,
                StateName::Succeeded
                | StateName::Failed
                | StateName::TimedOut
                | StateName::Cancelled
                | StateName::Lost
                | StateName::Expired => counts.ended.add(state.name(), 1),
            }
        }
        counts
    }
}

fn worker_of(state: &TaskState) -> Option<WorkerId> {
    match state {
        TaskState::Queued | TaskState::EndedInQueue { .. } => None,
        TaskState::Active(active) => Some(active.attempt.worker),
        TaskState::Ended(ended) => Some(ended.attempt.worker),
    }
}

fn of_job(job: &Job, name: Option<&String>, selector: &Selector, from: Option<Time>, until: Option<Time>) -> bool {
    (name.is_none() || job.spec().name.as_ref() == name)
        && selector.matches(&job.spec().labels)
        && from.is_none_or(|from| job.submitted >= from)
        && until.is_none_or(|until| job.submitted < until)
}
