//! The master's state machine: what happened comes in, what is to be done goes out.
//!
//! After every input no waiting task fits a free worker: a submission can only use room that nobody else
//! could, and room that comes free can only be used by its own worker. So each input places what it made
//! placeable, and nothing ever sweeps.

mod adopt;
mod cancel;
mod check;
mod deadline;
mod explain;
mod recover;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use explain::{Explanation, Why};
pub use recover::{LiveJob, Snapshot};

use crate::event::{Answer, Effects, Input, Limits, Order, Record};
use crate::fleet::Fleet;
use crate::id::{JobId, RequestId, TaskId, WorkerId};
use crate::job::{Job, Submission};
use crate::queue::Queue;
use crate::ranges::Ranges;
use crate::task::{Active, Attempt, Outcome, QueueOutcome, Stage};
use crate::time::Time;
use deadline::Due;

/// The number of a task's first attempt.
const FIRST_ATTEMPT: u32 = 1;

/// Owns every job that has not ended and every worker, and decides what happens to them.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    next_job: JobId,
    jobs: BTreeMap<JobId, LiveJob>,
    active: BTreeMap<TaskId, Active>,
    fleet: Fleet,
    queue: Queue,
    deadlines: BTreeSet<(Time, Due)>,
}

impl Scheduler {
    /// A scheduler that remembers nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Scheduler {
            limits,
            next_job: JobId(1),
            jobs: BTreeMap::new(),
            active: BTreeMap::new(),
            fleet: Fleet::default(),
            queue: Queue::default(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Takes one input in, and adds what is to be done about it to `effects`.
    pub fn handle(&mut self, now: Time, input: Input, effects: &mut Effects) {
        match input {
            Input::Submit { request, submission } => self.submit(now, request, submission, effects),
            Input::CancelTask { request, task, by } => {
                let answer = self.cancel_task(now, task, &by, effects);
                effects.answers.push((request, answer));
            }
            Input::CancelJob { request, job, by } => {
                let answer = self.cancel_job(now, job, &by, effects);
                effects.answers.push((request, answer));
            }
            Input::Admit { request, worker, admission } => {
                let answer = self.admit(now, &worker, admission, effects);
                effects.answers.push((request, answer));
            }
            Input::Join { request, session, hello, held } => {
                let answer = self.join(now, session, hello, &held, effects);
                effects.answers.push((request, answer));
            }
            Input::Connect { request, session } => {
                let answer = self.connect(now, session, effects);
                effects.answers.push((request, answer));
            }
            Input::Report { session, report } => self.report(now, session, report, effects),
            Input::Disconnect { session } => self.disconnect(now, session, effects),
            Input::Wake => self.wake(now, effects),
        }
    }

    /// Whether a job has tasks that have not ended.
    #[must_use]
    pub fn is_live(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    fn submit(&mut self, now: Time, request: RequestId, submission: Submission, effects: &mut Effects) {
        let id = self.next_job;
        self.next_job = JobId(id.0 + 1);
        let waiting = Ranges::new(0..submission.count);
        let job = Arc::new(Job { id, submitted: now, submission });
        effects.records.push(Record::Submitted(job.clone()));
        effects.answers.push((request, Answer::Submitted(id)));
        self.insert_job(LiveJob { job, waiting, tally: Default::default() });
        self.place_job(now, id, effects);
    }

    fn insert_job(&mut self, live: LiveJob) {
        let job = live.job.clone();
        if !live.waiting.is_empty() {
            self.queue.insert(job.id, job.spec());
            self.deadlines.insert((job.queue_deadline(), Due::Queue(job.id)));
        }
        self.jobs.insert(job.id, live);
    }

    /// Gives the waiting tasks of one job to workers while some fit.
    fn place_job(&mut self, now: Time, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get(&id).map(|live| live.job.clone()) else { return };
        while self.is_waiting(id) {
            let Some(worker) = self.fleet.pick(&job.spec().needs) else { return };
            self.assign(now, id, worker, effects);
        }
    }

    /// Gives waiting tasks to one worker while it has room for some.
    fn fill_worker(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) {
        loop {
            let Some(member) = self.fleet.get(worker) else { return };
            let free = member.free();
            if free == 0 {
                return;
            }
            let Some(job) = self.queue.first_for(&member.worker.hello.labels, free) else { return };
            self.assign(now, job, worker, effects);
        }
    }

    /// Gives the next waiting task of a job to a worker.
    fn assign(&mut self, now: Time, id: JobId, worker: WorkerId, effects: &mut Effects) {
        let Some((job, Some(index))) = self.change_waiting(id, |live| (live.job.clone(), live.waiting.pop())) else {
            return;
        };
        let task = id.task(index);
        let attempt = Attempt { number: FIRST_ATTEMPT, worker, assigned: now };
        let active = Active { attempt, stage: Stage::Assigned };
        let session = self.fleet.update(worker, |member| {
            member.used += job.spec().needs.slots;
            member.held.insert(task);
            member.worker.link.session()
        });
        effects.records.push(Record::Placed(task, active.clone()));
        self.set_active(&job, task, Some(active));
        if let Some(session) = session.flatten() {
            effects.orders.push((session, Order::Start(task.attempt(FIRST_ATTEMPT), job)));
        }
    }

    /// Ends a task that a worker holds, and gives its room away.
    fn end_task(&mut self, now: Time, task: TaskId, outcome: Outcome, effects: &mut Effects) {
        let Some(worker) = self.release(now, task, outcome, effects) else { return };
        self.fill_worker(now, worker, effects);
    }

    /// Ends a task that a worker holds; the worker, for what is to be done with its room.
    fn release(&mut self, now: Time, task: TaskId, outcome: Outcome, effects: &mut Effects) -> Option<WorkerId> {
        let job = self.jobs.get(&task.job)?.job.clone();
        let active = self.set_active(&job, task, None)?;
        let worker = active.attempt.worker;
        self.fleet.update(worker, |member| {
            if member.held.remove(&task) {
                member.used -= job.spec().needs.slots;
            }
            member.orphans.remove(&task);
        });
        let ended = active.ended(now, outcome);
        let state = ended.outcome.state();
        effects.records.push(Record::Ended(task, ended));
        self.count(now, task.job, |live| live.tally.add(state, 1), effects);
        Some(worker)
    }

    /// Ends tasks of a job that wait: one of them, or all.
    fn end_in_queue(
        &mut self,
        now: Time,
        id: JobId,
        index: Option<u32>,
        outcome: &QueueOutcome,
        effects: &mut Effects,
    ) {
        let taken = self.change_waiting(id, |live| match index {
            None => live.waiting.take(),
            Some(index) if live.waiting.remove(index) => Ranges::new(index..index + 1),
            Some(_) => Ranges::default(),
        });
        let taken = taken.filter(|taken| !taken.is_empty());
        let Some(taken) = taken else { return };
        for range in taken.iter() {
            effects.records.push(Record::EndedInQueue { job: id, range, at: now, outcome: outcome.clone() });
        }
        self.count(now, id, |live| live.tally.add(outcome.state(), taken.len()), effects);
    }

    /// Counts ended tasks of a job, and forgets the job when it has no others.
    fn count(&mut self, now: Time, id: JobId, add: impl FnOnce(&mut LiveJob), effects: &mut Effects) {
        let Some(live) = self.jobs.get_mut(&id) else { return };
        add(live);
        let tally = live.tally;
        let ended = (tally.total() == live.job.submission.count).then_some(now);
        effects.records.push(Record::Counted { job: id, tally, ended });
        if ended.is_some() {
            self.jobs.remove(&id);
        }
    }

    fn is_waiting(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|live| !live.waiting.is_empty())
    }

    /// Changes which tasks of a job wait; the one place that keeps the queue and its deadlines true.
    fn change_waiting<R>(&mut self, id: JobId, change: impl FnOnce(&mut LiveJob) -> R) -> Option<R> {
        let live = self.jobs.get_mut(&id)?;
        let waited = !live.waiting.is_empty();
        let result = change(live);
        if waited && live.waiting.is_empty() {
            self.queue.remove(id, live.job.spec());
            self.deadlines.remove(&(live.job.queue_deadline(), Due::Queue(id)));
        }
        Some(result)
    }

    /// Sets or clears what a worker holds of a task; the one place that keeps its deadline true.
    fn set_active(&mut self, job: &Job, task: TaskId, active: Option<Active>) -> Option<Active> {
        let deadline = active.as_ref().map(|active| self.attempt_deadline(job, active));
        let old = match active {
            Some(active) => self.active.insert(task, active),
            None => self.active.remove(&task),
        };
        if let Some(old) = &old {
            self.deadlines.remove(&(self.attempt_deadline(job, old), Due::Attempt(task)));
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, Due::Attempt(task))));
        old
    }
}
