//! What the records say, task by task: the plain truth that the store's ranges and indices are checked against.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_engine::{
    Counts, Ended, Job, JobId, Record, Selector, StateName, TaskId, TaskState, Time, Worker, WorkerId,
};

use crate::{AttemptRow, JobFilter, JobRow, KEY_LIFETIME, TaskFilter, TaskRow, WorkerFilter, WorkerRow};

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) jobs: BTreeMap<JobId, (Arc<Job>, Option<Time>)>,
    pub(super) tasks: BTreeMap<TaskId, TaskState>,
    /// What came of each task's attempts but for the last.
    past: BTreeMap<TaskId, Vec<Ended>>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
}

impl Model {
    pub(super) fn apply(&mut self, record: &Record) {
        match record.clone() {
            Record::Submitted(job) => {
                let known = job.submission.key.as_ref().and_then(|key| self.known(key, job.submitted));
                assert_eq!(known, None, "{job:?} has a key that is known");
                let tasks = (0..job.submission.count).map(|index| (job.id.task(index), TaskState::Queued));
                self.tasks.extend(tasks);
                self.jobs.insert(job.id, (job, None));
            }
            Record::Placed(task, active) | Record::Moved(task, active) => {
                self.tasks.insert(task, TaskState::Active(active));
            }
            Record::Ended(task, ended) => _ = self.tasks.insert(task, TaskState::Ended(ended)),
            Record::Retried(task, ended, again) => {
                self.past.entry(task).or_default().push(ended);
                self.tasks.insert(task, TaskState::Again(again));
            }
            Record::GivenUp { task, at, outcome } => {
                self.tasks.insert(task, TaskState::EndedInQueue { at, outcome });
            }
            Record::EndedInQueue { job, range, at, outcome } => {
                let state = TaskState::EndedInQueue { at, outcome };
                self.tasks.extend(range.map(|index| (job.task(index), state.clone())));
            }
            Record::Counted { job, ended, .. } => self.jobs.get_mut(&job).expect("a job").1 = ended,
            Record::Worker(worker) => _ = self.workers.insert(worker.id, worker),
        }
    }

    /// The job that a key stands for.
    pub(super) fn known(&self, key: &str, now: Time) -> Option<Arc<Job>> {
        let jobs = self.jobs.values().map(|(job, _)| job);
        let mut jobs = jobs.filter(|job| job.submission.key.as_deref() == Some(key));
        jobs.find(|job| now.since(job.submitted) < KEY_LIFETIME).cloned()
    }

    /// One task, with its attempts.
    pub(super) fn task(&self, row: TaskRow) -> TaskRow {
        let past = self.past.get(&row.id).into_iter().flatten();
        let attempts = past.map(|ended| {
            let worker = self.workers[&ended.attempt.worker].hello.name.clone();
            AttemptRow { ended: ended.clone(), worker }
        });
        TaskRow { attempts: attempts.collect(), ..row }
    }

    pub(super) fn tasks(&self, filter: &TaskFilter) -> Vec<TaskRow> {
        let rows = self.tasks.iter().rev().map(|(id, state)| {
            let worker = worker_of(state).map(|worker| self.workers[&worker].hello.name.clone());
            let tried = self.past.get(id).map_or(0, |past| past.len() as u32);
            let job = self.jobs[&id.job].0.clone();
            TaskRow { id: *id, job, state: state.clone(), worker, tried, attempts: Vec::new() }
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
            TaskState::Queued | TaskState::Again(_) | TaskState::Ended(_) | TaskState::EndedInQueue { .. } => false,
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
        TaskState::Queued | TaskState::Again(_) | TaskState::EndedInQueue { .. } => None,
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
