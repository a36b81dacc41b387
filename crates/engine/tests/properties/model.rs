//! What a store knows: a state made of nothing but the records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use sortie_engine::{
    Active, Again, AttemptId, Ended, Held, Job, JobId, Link, LiveJob, LostReason, OnLost, Outcome, Ranges, Record,
    SessionId, Snapshot, Started, StateName, Tally, TaskId, Time, Tries, Worker, WorkerId,
};

/// Every task that was ever submitted, in exactly one of four places, and every worker.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<JobId, Arc<Job>>,
    pub(crate) waiting: BTreeSet<TaskId>,
    pub(crate) again: BTreeMap<TaskId, Again>,
    pub(crate) active: BTreeMap<TaskId, Active>,
    pub(crate) ended: BTreeMap<TaskId, StateName>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Attempts that the master does not count on and a worker holds, with the slots they take.
    given_up: BTreeMap<(WorkerId, AttemptId), u32>,
    /// Tasks that an earlier session held and the one of now does not.
    orphans: BTreeSet<TaskId>,
    counted: BTreeMap<JobId, (Tally, Option<Time>)>,
}

impl Model {
    /// Takes a record in; it panics when one does not follow from those before.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Submitted(job) => self.submitted(job),
            Record::Placed(task, active) => {
                self.placed(*task, active);
            }
            Record::Moved(task, active) => {
                let old = self.active.insert(*task, active.clone());
                let old = old.unwrap_or_else(|| panic!("{task} moves and is not held"));
                assert_eq!(old.attempt, active.attempt, "{task} stays with its attempt");
                assert!(old.started().is_none() || old.started() == active.started(), "{task} started once");
                let stays = old.name() != StateName::Cancelling || active.name() == StateName::Cancelling;
                assert!(stays && old != *active, "{task} moves on, and no word takes a cancellation back");
            }
            Record::Ended(task, ended) => {
                self.attempt_ended(*task, ended);
                assert_eq!(self.ended.insert(*task, ended.outcome.state()), None, "{task} ends once");
            }
            Record::Retried(task, ended, again) => self.retried(*task, ended, again),
            Record::GivenUp { task, at: _, outcome } => {
                assert!(self.again.remove(task).is_some(), "{task} is given up and did not wait for another attempt");
                assert_eq!(self.ended.insert(*task, outcome.state()), None, "{task} ends once");
            }
            Record::EndedInQueue { job, range, at: _, outcome } => self.range_ended(*job, range, outcome.state()),
            Record::Counted { job, tally, ended } => _ = self.counted.insert(*job, (*tally, *ended)),
            Record::Worker(worker) => {
                if worker.link.session().is_none() {
                    self.given_up.retain(|(holder, _), _| *holder != worker.id);
                }
                self.workers.insert(worker.id, worker.clone());
            }
        }
    }

    fn submitted(&mut self, job: &Arc<Job>) {
        assert_eq!(job.id, self.next_job());
        self.waiting.extend((0..job.submission.count).map(|index| job.id.task(index)));
        self.counted.insert(job.id, Default::default());
        self.jobs.insert(job.id, job.clone());
    }

    fn placed(&mut self, task: TaskId, active: &Active) {
        let (attempt, tries) = match self.again.remove(&task) {
            Some(again) => {
                assert!(again.not_before <= active.attempt.assigned, "{task} is placed while it is held back");
                (again.attempt + 1, again.tries)
            }
            None => {
                assert!(self.waiting.remove(&task), "{task} is placed and did not wait");
                (1, Tries::default())
            }
        };
        assert_eq!((active.name(), active.attempt.number, active.tries), (StateName::Assigned, attempt, tries));
        self.active.insert(task, active.clone());
        let worker = &self.workers[&active.attempt.worker];
        assert!(self.used(worker) <= worker.hello.slots, "{task} has no room on {worker:?}");
    }

    /// The slots of a worker that attempts of its own take.
    fn used(&self, worker: &Worker) -> u32 {
        let used = self.active.iter().filter(|(_, active)| active.attempt.worker == worker.id);
        let used = used.filter(|(task, _)| !self.orphans.contains(task));
        used.map(|(task, _)| self.job(*task).spec().needs.slots).sum()
    }

    /// Another attempt follows as the policy says, and never on one that may still run.
    fn retried(&mut self, task: TaskId, ended: &Ended, again: &Again) {
        let before = self.active.get(&task).map(|active| (active.tries, active.name()));
        let (before, stage) = before.unwrap_or_else(|| panic!("{task} ends and is not held"));
        self.attempt_ended(task, ended);
        let spec = self.job(task).spec();
        assert_ne!(stage, StateName::Cancelling, "{task} is tried again after somebody cancelled it");
        let failed = Tries { failed: before.failed + 1, ..before };
        let lost = Tries { lost: before.lost + 1, ..before };
        let expected = match &ended.outcome {
            Outcome::Exited { code } if spec.retry.exit_codes.is_empty() || spec.retry.exit_codes.contains(code) => {
                failed
            }
            Outcome::Signaled { .. } | Outcome::OutOfMemory | Outcome::CouldNotStart { .. } | Outcome::TimedOut => {
                failed
            }
            Outcome::Lost { started: Started::No, .. } => before,
            Outcome::Lost {
                reason: LostReason::LeaseEnded | LostReason::WorkerStopped | LostReason::WorkerDied,
                ..
            } => lost,
            outcome @ (Outcome::Exited { .. }
            | Outcome::Cancelled { .. }
            | Outcome::Lost { reason: LostReason::OrderLost | LostReason::Overdue, .. }) => {
                panic!("{task} is tried again after {outcome:?}")
            }
        };
        assert_eq!((again.attempt, again.tries), (ended.attempt.number, expected));
        assert!(again.tries.failed <= spec.retry.count && again.tries.lost <= spec.max_lost, "{again:?}");
        assert!(again.tries.lost == 0 || spec.on_lost == OnLost::Retry, "{again:?}");
        assert!(again.not_before >= ended.at && again.not_before <= ended.at + spec.retry.max_backoff, "{again:?}");
        self.again.insert(task, again.clone());
    }

    fn attempt_ended(&mut self, task: TaskId, ended: &Ended) {
        let active = self.active.remove(&task).unwrap_or_else(|| panic!("{task} ends and is not held"));
        assert_eq!((&active.attempt, active.started()), (&ended.attempt, ended.started));
        let worker = ended.attempt.worker;
        let unheard = matches!(
            ended.outcome,
            Outcome::Lost { reason: LostReason::Overdue, .. } | Outcome::Cancelled { confirmed: false, .. }
        );
        let orphan = self.orphans.remove(&task);
        if unheard && !orphan && self.workers[&worker].link.session().is_some() {
            let slots = self.job(task).spec().needs.slots;
            self.given_up.insert((worker, task.attempt(ended.attempt.number)), slots);
        }
    }

    /// A worker has joined with what it holds: what it must kill is not the master's, or does not fit.
    pub(crate) fn joined(&mut self, name: &str, held: &[Held], kill: &[AttemptId]) {
        let worker = self.workers.values().find(|worker| worker.hello.name == name).expect("it has joined").clone();
        let mut presented: BTreeMap<_, _> = held.iter().map(|held| (held.attempt, held.slots)).collect();
        let (mut used, mut left) = (0, BTreeSet::new());
        for (task, active) in self.active.iter().filter(|(_, active)| active.attempt.worker == worker.id) {
            let (attempt, slots) = (task.attempt(active.attempt.number), self.job(*task).spec().needs.slots);
            let has_room = |taken: &u32| *taken == 0 || used + slots <= worker.hello.slots;
            if presented.get(&attempt).is_some_and(has_room) {
                (used, _) = (used + slots, presented.remove(&attempt));
                assert_ne!(active.name(), StateName::Unreachable, "{attempt} is back");
                left.remove(task);
                self.orphans.remove(task);
            } else {
                left.insert(*task);
            }
        }
        assert!(presented.keys().eq(kill), "of {held:?} is killed what is not adopted: {kill:?}");
        self.orphans.extend(left);
        let takes_room = presented.into_iter().filter(|(_, slots)| *slots > 0);
        self.given_up.extend(takes_room.map(|(attempt, slots)| ((worker.id, attempt), slots)));
    }

    /// The master has been killed, and a new one knows nothing of orphans.
    pub(crate) fn restarted(&mut self) {
        self.orphans.clear();
        assert!(self.given_up.is_empty() && self.sessions().is_empty());
        let mut stages = self.active.values().map(Active::name);
        assert!(stages.all(|stage| matches!(stage, StateName::Unreachable | StateName::Cancelling)));
    }

    /// A worker says that an attempt is gone: whether it was one that the master had given up.
    pub(crate) fn take_back(&mut self, session: SessionId, attempt: AttemptId) -> bool {
        let holder = self.workers.values().find(|worker| worker.link.session() == Some(session));
        holder.is_some_and(|worker| self.given_up.remove(&(worker.id, attempt)).is_some())
    }

    /// Whether the records are not all: there is an orphan, or what was given up and is not known to be gone.
    pub(crate) fn has_left_behind(&self) -> bool {
        !self.given_up.is_empty() || !self.orphans.is_empty()
    }

    fn range_ended(&mut self, job: JobId, range: &Range<u32>, state: StateName) {
        assert!(!range.is_empty());
        for task in range.clone().map(|index| job.task(index)) {
            assert!(self.waiting.remove(&task), "{task} ends in the queue and did not wait");
            assert_eq!(self.ended.insert(task, state), None, "{task} ends once");
        }
    }

    /// Between two inputs every job has been counted, and every task is somewhere.
    pub(crate) fn check(&self) {
        for (id, job) in &self.jobs {
            let (tally, ended) = self.counted[id];
            assert_eq!(tally, self.tally(*id), "job {id} is counted");
            assert_eq!(ended.is_some(), tally.total() == job.submission.count, "job {id} ends with its last task");
        }
        let submitted: usize = self.jobs.values().map(|job| job.submission.count as usize).sum();
        assert_eq!(self.waiting.len() + self.again.len() + self.active.len() + self.ended.len(), submitted);
        self.check_workers();
        self.check_order();
    }

    /// No worker holds more than its slots, and none has room for a task that waits.
    fn check_workers(&self) {
        for worker in self.workers.values() {
            let used = self.used(worker);
            let given_up = self.given_up.iter().filter(|((holder, _), _)| *holder == worker.id);
            let free = worker.hello.slots.saturating_sub(used + given_up.map(|(_, slots)| slots).sum::<u32>());
            let takes = |job: &Job| free >= job.spec().needs.slots && is_for(worker, job);
            let fits = self.waiting.iter().find(|task| takes(self.job(**task)));
            assert_eq!(fits, None, "a task waits that fits {worker:?}");
        }
    }

    /// Within the same needs nothing overtakes a job of higher priority, or an older one of the same.
    fn check_order(&self) {
        for (task, active) in self.active.iter().filter(|(_, active)| active.name() == StateName::Assigned) {
            let (job, since) = (self.job(*task), active.attempt.assigned);
            let before = |other: &Job| {
                let goes_first = (-other.spec().priority, other.id) < (-job.spec().priority, job.id);
                goes_first && other.submitted < since && other.spec().needs == job.spec().needs
            };
            let overtaken = self.waiting.iter().find(|waiting| before(self.job(**waiting)));
            assert_eq!(overtaken, None, "{task} went before an earlier one");
        }
    }

    /// Whether a session may speak about an attempt.
    pub(crate) fn holds(&self, session: SessionId, attempt: AttemptId) -> bool {
        let active = self.active.get(&attempt.task).filter(|active| active.attempt.number == attempt.number);
        let active = active.filter(|_| !self.orphans.contains(&attempt.task));
        active.is_some_and(|active| self.workers[&active.attempt.worker].link.session() == Some(session))
    }

    /// Whether a session has opened its stream.
    pub(crate) fn has_stream(&self, session: SessionId) -> bool {
        let links = self.workers.values().map(|worker| worker.link);
        links.filter(|link| !matches!(link, Link::Joining { .. })).any(|link| link.session() == Some(session))
    }

    /// The sessions that have not ended.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.workers.values().filter_map(|worker| worker.link.session()).collect()
    }

    /// What a store would give back.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let live = self.jobs.values().filter(|job| self.counted[&job.id].1.is_none());
        let live = live.map(|job| LiveJob {
            job: job.clone(),
            waiting: self.ranges(job.id),
            again: self.again_of(job.id),
            tally: self.counted[&job.id].0,
        });
        Snapshot {
            next_job: self.next_job(),
            jobs: live.collect(),
            active: self.active.iter().map(|(task, active)| (*task, active.clone())).collect(),
            workers: self.workers.values().cloned().collect(),
        }
    }

    fn next_job(&self) -> JobId {
        JobId(self.jobs.last_key_value().map_or(1, |(id, _)| id.0 + 1))
    }

    fn job(&self, task: TaskId) -> &Job {
        &self.jobs[&task.job]
    }

    fn ranges(&self, job: JobId) -> Ranges {
        let mut ranges = Ranges::default();
        for task in self.waiting.range(job.task(0)..=job.task(u32::MAX)) {
            ranges.push(task.index..task.index + 1);
        }
        ranges
    }

    fn again_of(&self, job: JobId) -> BTreeMap<u32, Again> {
        let again = self.again.range(job.task(0)..=job.task(u32::MAX));
        again.map(|(task, again)| (task.index, again.clone())).collect()
    }

    fn tally(&self, job: JobId) -> Tally {
        let mut tally = Tally::default();
        for (_, state) in self.ended.range(job.task(0)..=job.task(u32::MAX)) {
            tally.add(*state, 1);
        }
        tally
    }
}

/// Whether a worker takes new tasks, and this job's among them.
pub(crate) fn is_for(worker: &Worker, job: &Job) -> bool {
    let serves = worker.link.as_str() == "connected" && worker.admission == sortie_engine::Admission::Open;
    serves && job.spec().needs.selector.matches(&worker.hello.labels)
}
