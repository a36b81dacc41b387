//! What must hold of each record, before it is committed: what was on record until then allows it.

use sortie_engine::{
    Active, Admission, Again, Ended, Job, Link, QueueOutcome, Record, Report, SessionId, Stage, TaskId, TaskSpec, Time,
    Worker,
};

use crate::policy::{self, Next};
use crate::store::State;
use crate::world::World;

impl World {
    pub(crate) fn check_record(&mut self, record: &Record) {
        match record {
            Record::Submitted(job) => self.check_room(job),
            Record::Placed(task, active) => self.check_placed(*task, active),
            Record::Moved(task, active) => {
                let held = self.held(*task).map(|held| &held.attempt);
                assert_eq!(held, Some(&active.attempt), "{task} moves on");
            }
            Record::Ended(task, ended) => {
                self.check_next(*task, ended, Next::Over);
                self.check_true(*task, ended);
            }
            Record::Retried(task, ended, again) => {
                self.check_next(*task, ended, Next::Again);
                self.check_again(*task, ended, again);
                self.check_true(*task, ended);
            }
            Record::GivenUp { task, at, outcome } => self.check_given_up(*task, *at, outcome),
            Record::EndedInQueue { job, range, at, outcome } => {
                for task in range.clone().map(|index| job.task(index)) {
                    self.check_ended_in_queue(task, *at, outcome);
                }
            }
            Record::Worker(worker) => self.note_heir(worker),
            Record::Counted { .. } => {}
        }
    }

    /// Another process has a name now, and what the last one held may run on where that is.
    fn note_heir(&mut self, heir: &Worker) {
        let is_heir = self.store.workers.get(&heir.id).is_some_and(|known| known.incarnation < heir.incarnation);
        let mut runs = self.processes.values().filter(|process| process.stopped.is_none());
        if is_heir && runs.any(|process| self.machines[process.machine].name == heir.hello.name) {
            self.saw("a name has changed hands, and something runs on");
        }
    }

    /// What is said about an older attempt may be taken for the one that the same worker holds now.
    pub(crate) fn note_report(&mut self, id: u64, report: &Report) {
        let (Report::Started(attempt) | Report::Ended(attempt, ..)) = report else { return };
        let Some(held) = self.held(attempt.task).map(|held| &held.attempt) else { return };
        let session = self.store.workers[&held.worker].link.session();
        if held.number != attempt.number && session == Some(SessionId(id)) {
            self.saw("a report is about an older attempt at what its worker holds");
        }
    }

    fn spec(&self, task: TaskId) -> &TaskSpec {
        self.store.jobs[&task.job].spec()
    }

    fn held(&self, task: TaskId) -> Option<&Active> {
        match &self.store.tasks.get(&task)?.state {
            State::Active(active) => Some(active),
            State::Waiting | State::Again(_) | State::Over(_) => None,
        }
    }

    /// No more waits than may wait.
    fn check_room(&self, job: &Job) {
        let limits = &self.master.limits;
        let bytes: usize = self.store.live().map(|job| job.spec().bytes()).sum();
        let fits = self.store.live().count() < limits.max_jobs && bytes + job.spec().bytes() <= limits.max_spec_bytes;
        assert!(fits, "job {} is one too many", job.id);
    }

    /// A task goes to a worker that may have it, with the next number, in time, and not once it was to be stopped.
    fn check_placed(&mut self, id: TaskId, active: &Active) {
        let task = &self.store.tasks[&id];
        let attempt = &active.attempt;
        assert_eq!(attempt.number as usize, task.past.len() + 1, "the number of the next attempt at {id}");
        assert_eq!(active.stage, Stage::Assigned, "{id} is placed");
        match &task.state {
            State::Waiting => assert_eq!(attempt.number, 1, "{id} waits for its first attempt"),
            State::Again(again) => {
                let early = again.not_before > attempt.assigned;
                assert!(!early, "{id} is held back until {:?} and tried at {:?}", again.not_before, attempt.assigned);
            }
            State::Active(_) | State::Over(_) => panic!("{id} is placed and does not wait: {task:?}"),
        }
        let worker = &self.store.workers[&attempt.worker];
        assert!(matches!(worker.link, Link::Connected { .. }), "{id} goes to a worker that is not there: {worker:?}");
        assert_eq!(worker.admission, Admission::Open, "{id} goes to {worker:?}");
        assert_eq!(worker.incarnation, attempt.incarnation, "{id} goes to another process");
        assert!(!self.clients.stopped.contains(&id), "{id} is placed and was cancelled");
        if attempt.number > 1 {
            self.saw("a task is tried again");
        }
        self.placed.insert(id.attempt(attempt.number), self.now);
    }

    /// The policy says what follows an attempt.
    fn check_next(&self, id: TaskId, ended: &Ended, next: Next) {
        let held = self.held(id).expect("a task that is held");
        assert_eq!(held.attempt, ended.attempt, "the attempt at {id} that has ended");
        let is_cancelling = matches!(held.stage, Stage::Cancelling { .. });
        let (spec, past) = (self.spec(id), &self.store.tasks[&id].past);
        let expected = policy::next(spec, past, &ended.outcome, is_cancelling);
        assert_eq!(next, expected, "what follows {ended:?}, after {past:?}, with {spec:?}");
        let told = ended.started.is_some() == held.started().is_some();
        assert!(told, "{id} has started, or not: {ended:?} of {held:?}");
    }

    fn check_again(&self, id: TaskId, ended: &Ended, again: &Again) {
        assert_eq!(again.attempt, ended.attempt.number, "the last attempt at {id}");
        assert!(!self.clients.stopped.contains(&id), "{id} waits for another attempt and was cancelled");
        let longest = policy::longest_wait(self.spec(id), &self.store.tasks[&id].past, &ended.outcome);
        let fits = ended.at <= again.not_before && again.not_before <= ended.at + longest;
        assert!(fits, "{id} is held back from {:?} to {:?}, not {longest:?}", ended.at, again.not_before);
    }

    fn check_given_up(&mut self, id: TaskId, at: Time, outcome: &QueueOutcome) {
        self.saw("a task is given up that was tried");
        let State::Again(again) = &self.store.tasks[&id].state else { panic!("{id} waits for no other attempt") };
        self.check_waited(id, again.not_before, at, outcome);
        let running = self.processes.range(id.attempt(0)..=id.attempt(u32::MAX)).find(|(_, p)| self.is_running(p));
        assert!(running.is_none(), "{id} ends as it waits, and {running:?} runs");
    }

    fn check_ended_in_queue(&self, id: TaskId, at: Time, outcome: &QueueOutcome) {
        let task = &self.store.tasks[&id];
        assert!(matches!(task.state, State::Waiting), "{id} ends in the queue: {task:?}");
        self.check_waited(id, self.store.jobs[&id.job].submitted, at, outcome);
        let began = self.processes.range(id.attempt(0)..=id.attempt(u32::MAX)).next();
        assert!(began.is_none(), "{id} ends in the queue, and {began:?} has run");
    }

    /// Who ends as it waits has waited for long enough, or was cancelled.
    fn check_waited(&self, id: TaskId, since: Time, at: Time, outcome: &QueueOutcome) {
        let is_true = match outcome {
            QueueOutcome::Expired => since + self.spec(id).queue_timeout <= at,
            QueueOutcome::Cancelled { .. } => self.clients.cancelled.contains_key(&id),
        };
        assert!(is_true, "{id} has waited since {since:?} and ends at {at:?}: {outcome:?}");
    }
}
