//! Clients: they submit until they know that they have, cancel, and drain workers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sortie_engine::{Admission, Answer, Command, Input, JobId, Needs, OnLost, Retry, Submission, TaskId, TaskSpec};

use crate::master::Asker;
use crate::rng::Rng;
use crate::world::{Happens, World};

/// The most tasks of a job.
const MAX_COUNT: u32 = 4;
/// Who cancels.
pub(crate) const SOMEBODY: &str = "ann";

#[derive(Default)]
pub(crate) struct Clients {
    intents: Vec<Intent>,
    /// When somebody first asked for a task to be cancelled.
    pub(crate) cancelled: BTreeMap<TaskId, u64>,
    /// The tasks of which somebody was told that they are cancelled, or are being so.
    pub(crate) stopped: BTreeSet<TaskId>,
}

/// Something that a client wants to be run.
struct Intent {
    submission: Submission,
    /// The job that it was told of.
    job: Option<JobId>,
    /// It was told that as much waits as may wait.
    is_turned_away: bool,
    /// It does not ask any more.
    is_settled: bool,
}

/// What a client asks the master for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Submit(usize),
    /// Another submission under the key of this one.
    Impostor(usize),
    CancelTask(TaskId),
    CancelJob(JobId),
    Admit(String, Admission),
}

impl Clients {
    /// Whether everybody has got what they wanted.
    pub(crate) fn are_content(&self) -> bool {
        self.intents.iter().all(|intent| intent.is_settled)
    }

    /// The jobs that clients have been told of.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = (JobId, &Submission)> + '_ {
        self.intents.iter().filter_map(|intent| Some((intent.job?, &intent.submission)))
    }

    fn impostor(&self, intent: usize) -> Submission {
        let original = &self.intents[intent].submission;
        Submission { count: original.count + 1, ..original.clone() }
    }
}

impl World {
    /// Another client wants something to be run, or a known one uses its key for something else.
    pub(crate) fn submit(&mut self) {
        let told =
            self.clients.intents.iter().rposition(|intent| intent.job.is_some() && intent.submission.key.is_some());
        if let Some(told) = told.filter(|_| self.rng.chance(100)) {
            return self.ask(Ask::Impostor(told));
        }
        let number = self.clients.intents.len();
        let key = self.rng.chance(800).then(|| format!("key {number}"));
        let (spec, count) = (spec(&mut self.rng), self.rng.small(1, MAX_COUNT));
        let submission = Submission { spec, count, traceparent: None, key };
        self.clients.intents.push(Intent { submission, job: None, is_turned_away: false, is_settled: false });
        self.try_submit(number);
    }

    /// A client asks again until it is answered, whatever has become of what it said before; without a key it asks once.
    pub(crate) fn try_submit(&mut self, number: usize) {
        let intent = &mut self.clients.intents[number];
        if intent.is_settled {
            return;
        }
        if intent.submission.key.is_some() {
            let after = if intent.is_turned_away { self.rng.range(3_000, 20_000) } else { self.rng.range(300, 5_000) };
            self.after(after, Happens::TrySubmit(number));
        } else {
            intent.is_settled = true;
        }
        self.ask(Ask::Submit(number));
    }

    /// Somebody cancels a task that a worker holds, or one or all of a job that was submitted not long ago.
    pub(crate) fn cancel(&mut self) {
        let Some(last) = self.store.jobs.last_key_value().map(|(id, _)| id.0) else { return };
        let is_cut_off = self.rng.chance(150);
        let held = self.store.held(is_cut_off);
        let job = JobId(self.rng.range(last.saturating_sub(3), last + 1));
        let index = self.rng.small(0, MAX_COUNT);
        let ask = match self.rng.range(0, 10) {
            0..5 if !held.is_empty() => Ask::CancelTask(held[self.rng.index(held.len())]),
            0..8 => Ask::CancelTask(job.task(index)),
            _ => Ask::CancelJob(job),
        };
        self.ask(ask);
    }

    /// Somebody drains a worker, or opens it again.
    pub(crate) fn operate(&mut self) {
        let name = self.machines[self.rng.index(self.machines.len())].name.clone();
        let admission = if self.rng.chance(400) { Admission::Draining } else { Admission::Open };
        self.ask(Ask::Admit(name, admission));
    }

    /// When the storm is over, every worker is opened.
    pub(crate) fn open_all(&mut self) {
        for index in 0..self.machines.len() {
            self.ask(Ask::Admit(self.machines[index].name.clone(), Admission::Open));
        }
    }

    fn ask(&mut self, ask: Ask) {
        if self.is_rough() && self.rng.chance(50) {
            return;
        }
        // Who has no key can only ask once.
        let is_once = matches!(ask, Ask::Submit(intent) if self.clients.intents[intent].submission.key.is_none());
        let is_twice = !is_once && self.is_rough() && self.rng.chance(50);
        for _ in 0..=u8::from(is_twice) {
            let after = if self.is_rough() { self.rng.mostly(50, 20, 5_000) } else { self.rng.range(0, 50) };
            self.after(after, Happens::Ask(ask.clone()));
        }
    }

    /// What a client asks for arrives, if the master is there.
    pub(crate) fn asked(&mut self, ask: Ask) {
        self.trace(|| format!("client: {}", crate::words::ask(&ask)));
        let Some(request) = self.master.request(Asker::Client(ask.clone())) else { return };
        let by = SOMEBODY.to_owned();
        let input = match ask {
            Ask::Submit(intent) => {
                let submission = Box::new(self.clients.intents[intent].submission.clone());
                Input::Submit { request, submission, known: None }
            }
            Ask::Impostor(intent) => {
                let submission = Box::new(self.clients.impostor(intent));
                Input::Submit { request, submission, known: None }
            }
            Ask::CancelTask(task) => {
                self.clients.cancelled.entry(task).or_insert(self.now);
                Input::CancelTask { request, task, by }
            }
            Ask::CancelJob(job) => {
                for index in 0..=MAX_COUNT {
                    self.clients.cancelled.entry(job.task(index)).or_insert(self.now);
                }
                Input::CancelJob { request, job, by }
            }
            Ask::Admit(worker, admission) => Input::Admit { request, worker, admission },
        };
        self.input(input);
    }

    /// The master's answer is on its way to a client, and may be lost.
    pub(crate) fn answer_client(&mut self, ask: Ask, answer: Answer) {
        self.trace(|| format!("master: to {}: {answer:?}", crate::words::ask(&ask)));
        if !(self.is_rough() && self.rng.chance(50)) {
            let after = self.rng.range(0, 50);
            self.after(after, Happens::Answer(ask, answer));
        }
    }

    /// A client has its answer, and holds the master to it.
    pub(crate) fn answered(&mut self, ask: Ask, answer: Answer) {
        match (ask, answer) {
            (Ask::Submit(intent), answer @ (Answer::Submitted(job) | Answer::Repeated(job))) => {
                if answer == Answer::Repeated(job) {
                    self.saw("a submit is known as a repeat");
                }
                let intent = &mut self.clients.intents[intent];
                intent.is_settled = true;
                let told = *intent.job.get_or_insert(job);
                assert_eq!(told, job, "one key, two jobs");
                self.check_submitted(job);
            }
            (Ask::Submit(intent), Answer::QueueFull) => self.clients.intents[intent].is_turned_away = true,
            (Ask::Impostor(intent), Answer::KeyTaken(job)) => {
                assert_eq!(self.clients.intents[intent].job, Some(job), "a key is taken by another job");
                self.saw("a key is taken");
            }
            (Ask::CancelTask(task), Answer::Done) => _ = self.clients.stopped.insert(task),
            (Ask::CancelJob(job), Answer::Done) => {
                self.clients.stopped.extend((0..=MAX_COUNT).map(|index| job.task(index)));
            }
            (Ask::CancelTask(task), Answer::NotLive) => {
                let task = self.store.tasks.get(&task);
                assert!(task.is_none_or(|task| task.is_over()), "a client is told that {task:?} is not live");
            }
            (Ask::CancelJob(job), Answer::NotLive) => {
                let live = self.store.tasks_of(job).find(|(_, task)| !task.is_over());
                assert!(live.is_none(), "a client is told that {live:?} is not live");
            }
            (Ask::Admit(..), Answer::Done | Answer::NotLive) => {}
            (ask, answer) => panic!("{answer:?} does not answer {ask:?}"),
        }
    }

    /// P1: what a client was told of is on disk, as it was asked for.
    pub(crate) fn check_submitted(&self, job: JobId) {
        let submission = self.clients.acknowledged().find(|(told, _)| *told == job).map(|(_, submission)| submission);
        let stored = self.store.jobs.get(&job).map(|job| &job.submission);
        assert!(stored.is_some() && submission == stored, "job {job} was acknowledged: {submission:?} is {stored:?}");
    }
}

/// What a client wants to be run.
fn spec(rng: &mut Rng) -> TaskSpec {
    let mut seconds = |low, high| Duration::from_secs(rng.range(low, high));
    let (timeout, kill_grace, queue_timeout) = (seconds(5, 50), seconds(1, 6), seconds(20, 150));
    let (backoff, max_backoff) = (seconds(1, 10), seconds(5, 20));
    let count = [0, 0, 1, 2, 3][rng.index(5)];
    let exit_codes = if rng.chance(300) { [1].into() } else { Default::default() };
    TaskSpec {
        timeout,
        kill_grace,
        queue_timeout,
        needs: Needs { slots: if rng.chance(200) { 2 } else { 1 }, selector: Default::default() },
        priority: if rng.chance(100) { 1 } else { 0 },
        retry: Retry { count, backoff, max_backoff: max_backoff.max(backoff), exit_codes },
        on_lost: if rng.chance(200) { OnLost::Fail } else { OnLost::Retry },
        max_lost: [0, 1, 2, 2][rng.index(4)],
        ..TaskSpec::new(Command::Line("true".into()))
    }
}
