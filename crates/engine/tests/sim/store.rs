//! A store that keeps what was committed, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_engine::{
    Active, Again, AttemptId, Ended, Job, JobId, LiveJob, Ranges, Record, Snapshot, Stage, StateName, Tally, TaskId,
    Worker, WorkerId,
};

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) jobs: BTreeMap<JobId, Arc<Job>>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    keys: BTreeMap<String, Arc<Job>>,
    tallies: BTreeMap<JobId, (Tally, bool)>,
}

/// A task, with its attempts that have ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) state: State,
    pub(crate) past: Vec<Ended>,
}

#[derive(Debug)]
pub(crate) enum State {
    Waiting,
    Again(Again),
    Active(Active),
    Over(StateName),
}

impl Task {
    /// How an attempt ended, if it has.
    pub(crate) fn end_of(&self, attempt: AttemptId) -> Option<&Ended> {
        self.past.iter().find(|ended| ended.attempt.number == attempt.number)
    }

    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            State::Over(_) => true,
            State::Waiting | State::Again(_) | State::Active(_) => false,
        }
    }
}

impl Store {
    pub(crate) fn commit(&mut self, record: &Record) {
        match record {
            Record::Submitted(job) => self.submitted(job),
            Record::Placed(task, active) | Record::Moved(task, active) => {
                self.set(*task, State::Active(active.clone()));
            }
            Record::Ended(task, ended) => {
                self.set(*task, State::Over(ended.outcome.state())).push(ended.clone());
            }
            Record::Retried(task, ended, again) => {
                self.set(*task, State::Again(again.clone())).push(ended.clone());
            }
            Record::GivenUp { task, at: _, outcome } => _ = self.set(*task, State::Over(outcome.state())),
            Record::EndedInQueue { job, range, at: _, outcome } => {
                for index in range.clone() {
                    self.set(job.task(index), State::Over(outcome.state()));
                }
            }
            Record::Counted { job, tally, ended } => {
                assert_eq!(*tally, self.count(*job), "the tally of job {job}");
                self.tallies.insert(*job, (*tally, ended.is_some()));
            }
            Record::Worker(worker) => _ = self.workers.insert(worker.id, worker.clone()),
        }
    }

    fn submitted(&mut self, job: &Arc<Job>) {
        for index in 0..job.submission.count {
            self.tasks.insert(job.id.task(index), Task { state: State::Waiting, past: Vec::new() });
        }
        if let Some(key) = &job.submission.key {
            let old = self.keys.insert(key.clone(), job.clone());
            assert!(old.is_none(), "job {} is submitted under the key of {old:?}", job.id);
        }
        self.tallies.insert(job.id, Default::default());
        assert!(self.jobs.insert(job.id, job.clone()).is_none(), "job {} is submitted twice", job.id);
    }

    /// Sets a task's state, which must not be final yet; its attempts that have ended.
    fn set(&mut self, task: TaskId, state: State) -> &mut Vec<Ended> {
        let known = self.tasks.get_mut(&task).expect("a task that was submitted");
        assert!(!known.is_over(), "{task} is over ({:?}) and becomes {state:?}", known.state);
        known.state = state;
        &mut known.past
    }

    /// How many tasks of a job have ended, and how.
    fn count(&self, job: JobId) -> Tally {
        let mut tally = Tally::default();
        for task in self.tasks_of(job).map(|(_, task)| task) {
            match task.state {
                State::Over(state) => tally.add(state, 1),
                State::Waiting | State::Again(_) | State::Active(_) => {}
            }
        }
        tally
    }

    pub(crate) fn tasks_of(&self, job: JobId) -> impl Iterator<Item = (&TaskId, &Task)> + '_ {
        self.tasks.range(job.task(0)..=job.task(u32::MAX))
    }

    /// The tasks that workers hold: all of them, or those whose worker is not there.
    pub(crate) fn held(&self, is_cut_off: bool) -> Vec<TaskId> {
        let is_meant = |task: &Task| match &task.state {
            State::Active(active) => !is_cut_off || matches!(active.stage, Stage::Unreachable { .. }),
            State::Waiting | State::Again(_) | State::Over(_) => false,
        };
        let live = self.live().flat_map(|job| self.tasks_of(job.id));
        live.filter(|(_, task)| is_meant(task)).map(|(id, _)| *id).collect()
    }

    /// The job that was submitted under a key.
    pub(crate) fn by_key(&self, key: Option<&String>) -> Option<Arc<Job>> {
        self.keys.get(key?).cloned()
    }

    /// How an attempt ended, if it has.
    pub(crate) fn end_of(&self, attempt: AttemptId) -> Option<&Ended> {
        self.tasks.get(&attempt.task)?.end_of(attempt)
    }

    /// The jobs that have not ended.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Job>> + '_ {
        self.jobs.values().filter(|job| !self.tallies[&job.id].1)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut active = Vec::new();
        let live = self.live().map(|job| {
            let (mut waiting, mut again) = (Ranges::default(), BTreeMap::new());
            for (id, task) in self.tasks_of(job.id) {
                match &task.state {
                    State::Waiting => waiting.push(id.index..id.index + 1),
                    State::Again(held) => _ = again.insert(id.index, held.clone()),
                    State::Active(held) => active.push((*id, held.clone())),
                    State::Over(_) => {}
                }
            }
            LiveJob { job: job.clone(), waiting, again, tally: self.tallies[&job.id].0 }
        });
        let jobs = live.collect();
        Snapshot {
            next_job: JobId(self.jobs.last_key_value().map_or(1, |(id, _)| id.0 + 1)),
            jobs,
            active,
            workers: self.workers.values().cloned().collect(),
        }
    }

    /// Whether every task has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.live().next().is_none()
    }
}
