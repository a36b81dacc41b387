//! The master's state machine: what happened comes in, what is to be done goes out.
//!
//! After every input no waiting task fits a free worker: a submission can only use room that nobody else
//! could, and room that comes free can only be used by its own worker. So each input places what it made
//! placeable, and nothing ever sweeps.

mod submit;
mod session;
mod adopt;
mod again;
mod cancel;
mod deadline;
mod explain;
mod recover;
mod check;

use std::collections::{BTreeMap, BTreeSet};

pub use explain::{Explanation, Why};
pub use recover::{LiveJob, Snapshot};

use crate::event::{Effects, Input, Limits, Order, Record};
use crate::fleet::Fleet;
use crate::id::{JobId, TaskId, WorkerId};
use crate::job::Job;
use crate::queue::Queue;
use crate::ranges::Ranges;
use crate::task::{Active, Attempt, Outcome, QueueOutcome, Stage, Tries, Usage};
use crate::time::Time;
use again::Patience;
use deadline::Due;

/// The number of a task's first attempt.
const FIRST_ATTEMPT: u32 = 1;

/// Owns every job that has not ended and every worker, and decides what happens to them.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    /// What chance is made of.
    seed: u64,
    next_job: JobId,
    jobs: BTreeMap<JobId, LiveJob>,
    /// What the specs of these jobs take.
    spec_bytes: usize,
    /// Of the tasks that wait for another attempt, those that are not held back any more.
    ready: BTreeSet<TaskId>,
    active: BTreeMap<TaskId, Active>,
    fleet: Fleet,
    queue: Queue,
    deadlines: BTreeSet<(Time, Due)>,
}

impl Scheduler {
    /// A scheduler that remembers nothing. Any `seed` will do that other masters do not have: it spreads retries.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Scheduler {
            limits,
            seed,
            next_job: JobId(1),
            jobs: BTreeMap::new(),
            spec_bytes: 0,
            ready: BTreeSet::new(),
            active: BTreeMap::new(),
            fleet: Fleet::default(),
            queue: Queue::default(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Takes one input in, and adds what is to be done about it to `effects`.
    pub fn handle(&mut self, now: Time, input: Input, effects: &mut Effects) {
        let (request, answer) = match input {
            Input::Submit { request, submission, known } => (request, self.submit(now, *submission, known, effects)),
            Input::CancelTask { request, task, by } => (request, self.cancel_task(now, task, &by, effects)),
            Input::CancelJob { request, job, by } => (request, self.cancel_job(now, job, &by, effects)),
            Input::Admit { request, worker, admission } => (request, self.admit(now, &worker, admission, effects)),
            Input::Join { request, session, hello, introduction, held } => {
                (request, self.join(now, session, hello, introduction, &held, effects))
            }
            Input::Connect { request, session } => (request, self.connect(now, session, effects)),
            Input::Report { session, report } => return self.report(now, session, report, effects),
            Input::Disconnect { session } => return self.disconnect(now, session, effects),
            Input::Wake => return self.wake(now, effects),
        };
        effects.answers.push((request, answer));
    }

    /// Whether a job has tasks that have not ended.
    #[must_use]
    pub fn is_live(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    fn insert_job(&mut self, mut live: LiveJob) {
        let job = live.job.clone();
        if !live.waiting.is_empty() {
            self.queue.insert(job.id, job.spec());
            self.deadlines.insert((job.queue_deadline(), Due::Queue(job.id)));
        }
        self.spec_bytes += job.spec().bytes();
        let again = std::mem::take(&mut live.again);
        self.jobs.insert(job.id, live);
        for (index, again) in again {
            self.set_again(job.id.task(index), Some((again, Patience::HeldBack)));
        }
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
        let Some(job) = self.jobs.get(&id).map(|live| live.job.clone()) else { return };
        let Some(incarnation) = self.fleet.get(worker).map(|member| member.worker.incarnation) else { return };
        let Some((task, number, tries)) = self.take_next(id) else { return };
        let attempt = Attempt { number, worker, incarnation, assigned: now };
        let active = Active { attempt, tries, stage: Stage::Assigned };
        let session = self.fleet.update(worker, |member| {
            member.used += job.spec().needs.slots;
            member.held.insert(task);
            member.worker.link.session()
        });
        effects.records.push(Record::Placed(task, active.clone()));
        self.set_active(&job, task, Some(active));
        if let Some(session) = session.flatten() {
            effects.orders.push((session, Order::Start(task.attempt(number), job)));
        }
    }

    /// Takes the next waiting task of a job out of the queue, with the number of the attempt that is to come. What
    /// has been tried before goes first: it has waited longer.
    fn take_next(&mut self, id: JobId) -> Option<(TaskId, u32, Tries)> {
        if let Some(task) = self.first_ready(id) {
            let again = self.set_again(task, None)?;
            return Some((task, again.attempt + 1, again.tries));
        }
        let index = self.change_waiting(id, |live| live.waiting.pop()).flatten()?;
        Some((id.task(index), FIRST_ATTEMPT, Tries::default()))
    }

    /// Ends an attempt, and gives its room away.
    fn end_attempt(&mut self, now: Time, task: TaskId, outcome: Outcome, usage: Option<Usage>, effects: &mut Effects) {
        let Some(worker) = self.release(now, task, outcome, usage, effects) else { return };
        self.fill_worker(now, worker, effects);
    }

    /// Ends an attempt, and its task unless there is to be another one; the worker, for what is to be done with its room.
    fn release(
        &mut self,
        now: Time,
        task: TaskId,
        outcome: Outcome,
        usage: Option<Usage>,
        effects: &mut Effects,
    ) -> Option<WorkerId> {
        let job = self.jobs.get(&task.job)?.job.clone();
        let active = self.set_active(&job, task, None)?;
        let worker = active.attempt.worker;
        self.fleet.update(worker, |member| {
            if member.held.remove(&task) {
                member.used -= job.spec().needs.slots;
            }
            member.orphans.remove(&task);
        });
        let again = self.follow_up(now, &job, task, &active, &outcome);
        let ended = active.ended(now, outcome, usage);
        match again {
            Some(again) => {
                effects.records.push(Record::Retried(task, ended, again.clone()));
                self.set_again(task, Some((again, Patience::HeldBack)));
            }
            None => {
                let state = ended.outcome.state();
                effects.records.push(Record::Ended(task, ended));
                self.count(now, task.job, |live| live.tally.add(state, 1), effects);
            }
        }
        Some(worker)
    }

    /// Ends tasks of a job that wait for their first attempt: one of them, or all.
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
            self.spec_bytes -= live.job.spec().bytes();
            self.jobs.remove(&id);
        }
    }

    /// Whether a job has tasks that could be given to a worker.
    fn is_waiting(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|live| !live.waiting.is_empty()) || self.first_ready(id).is_some()
    }

    /// Changes which tasks of a job wait for their first attempt; the one place that keeps their deadline true.
    fn change_waiting<R>(&mut self, id: JobId, change: impl FnOnce(&mut LiveJob) -> R) -> Option<R> {
        let waited = self.is_waiting(id);
        let live = self.jobs.get_mut(&id)?;
        let had_fresh = !live.waiting.is_empty();
        let result = change(live);
        if had_fresh && live.waiting.is_empty() {
            self.deadlines.remove(&(live.job.queue_deadline(), Due::Queue(id)));
        }
        self.requeue(id, waited);
        Some(result)
    }

    /// Keeps the queue true after a change of what waits of a job.
    fn requeue(&mut self, id: JobId, waited: bool) {
        let waits = self.is_waiting(id);
        let Some(live) = self.jobs.get(&id) else { return };
        match (waited, waits) {
            (false, true) => self.queue.insert(id, live.job.spec()),
            (true, false) => self.queue.remove(id, live.job.spec()),
            (false, false) | (true, true) => {}
        }
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
