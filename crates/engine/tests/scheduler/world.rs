//! A scheduler and a clock that only goes when a script lets it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sortie_engine::{
    Admission, AttemptId, Command, Effects, End, Explanation, Held, Hello, Input, Job, JobId, Limits, Link, OnLost,
    Order, Record, Report, RequestId, Scheduler, SessionId, Snapshot, Submission, TaskId, TaskSpec, Time,
};

use crate::render;

/// The effects of nothing.
pub(crate) const NOTHING: [&str; 0] = [];
/// What chance is made of.
const SEED: u64 = 1;

/// How long a command may run in these scripts, in seconds.
pub(crate) const TIMEOUT: u64 = 100;
/// How long a task may wait in these scripts, in seconds.
pub(crate) const QUEUE_TIMEOUT: u64 = 1000;
/// How long a worker counts as there without a word: the lease and the master's margin, in seconds.
pub(crate) const LEASE_AND_MARGIN: u64 = 15 + 5;
/// At every so many seconds a worker that has not fallen silent is heard of.
const BEAT: u64 = 10;

/// All effects of an input, as lines.
pub(crate) type Lines = Vec<String>;

/// A scheduler whose invariants are checked after every input.
pub(crate) struct World {
    scheduler: Scheduler,
    limits: Limits,
    /// The jobs on disk, by the keys that they were submitted under.
    keys: BTreeMap<String, Arc<Job>>,
    now: Time,
    last_request: usize,
    last_session: u64,
    silent: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        World::with_limits(Limits::default())
    }

    /// A world with other chances, and a worker of 20 slots.
    pub(crate) fn with_seed(seed: u64) -> Self {
        let mut world = World::new();
        world.scheduler = Scheduler::new(Limits::default(), seed);
        assert_eq!(world.add_worker(hello("a", 20)), NOTHING);
        world
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let scheduler = Scheduler::new(limits.clone(), SEED);
        World {
            scheduler,
            limits,
            keys: BTreeMap::new(),
            now: Time(0),
            last_request: 0,
            last_session: 0,
            silent: false,
        }
    }

    /// A world with worker 1, named `a`, on session 1.
    pub(crate) fn with_worker(slots: u32) -> Self {
        let mut world = World::new();
        assert_eq!(world.add_worker(hello("a", slots)), NOTHING);
        world
    }

    /// The same, and the worker has one slot and runs task 1.0 in it, all since 0.
    pub(crate) fn running() -> Self {
        let mut world = World::assigned();
        assert_eq!(world.started(1, "1.0#1"), ["moved 1.0#1 on 1 at 0: running since 0"]);
        world
    }

    /// The same, and the worker has been given the task and has not answered yet.
    pub(crate) fn assigned() -> Self {
        let mut world = World::with_worker(1);
        let lines = world.submit(1, |_| ());
        let placed = "placed 1.0#1 on 1 at 0: assigned";
        assert_eq!(lines, ["job 1 x1 at 0", placed, "to s1: start 1.0#1", "answer: submitted 1"]);
        world
    }

    /// The master is killed and a new one takes up what the old one had written.
    pub(crate) fn restart(&mut self) -> Lines {
        let mut effects = Effects::default();
        self.scheduler = Scheduler::recover(self.limits.clone(), SEED, self.snapshot(), self.now, &mut effects);
        self.told(&effects)
    }

    pub(crate) fn submit(&mut self, count: u32, change: impl FnOnce(&mut TaskSpec)) -> Lines {
        let (request, submission) = (self.request(), submission(count, change));
        let given = submission.clone();
        let effects = self.handle(Input::Submit { request, submission: Box::new(submission), known: None });
        let jobs = effects.records.iter().filter_map(submitted);
        assert!(jobs.eq([&given]), "the job is what was submitted: {effects:?}");
        self.told(&effects)
    }

    /// Submits what has no room.
    pub(crate) fn refused(&mut self, count: u32, change: impl FnOnce(&mut TaskSpec)) -> Lines {
        let (request, submission) = (self.request(), Box::new(submission(count, change)));
        self.input(Input::Submit { request, submission, known: None })
    }

    /// Submits several jobs, each with its key and count, that go to disk together.
    pub(crate) fn submit_many(&mut self, jobs: &[(&str, u32)]) -> Lines {
        let request = self.request();
        let mut effects = Effects::default();
        for (key, count) in jobs {
            let submission = Submission { key: Some((*key).to_owned()), ..submission(*count, |_| ()) };
            let known = self.keys.get(*key).cloned();
            self.scheduler.handle(
                self.now,
                Input::Submit { request, submission: Box::new(submission), known },
                &mut effects,
            );
        }
        self.keys.extend(std::mem::take(&mut effects.keys));
        self.told(&effects)
    }

    /// A day passes for the keys.
    pub(crate) fn forget_keys(&mut self) {
        self.keys.clear();
    }

    pub(crate) fn cancel_task(&mut self, task: &str) -> Lines {
        let request = self.request();
        self.input(Input::CancelTask { request, task: task_id(task), by: "ann".into() })
    }

    pub(crate) fn cancel_job(&mut self, job: u64) -> Lines {
        let request = self.request();
        self.input(Input::CancelJob { request, job: JobId(job), by: "ann".into() })
    }

    pub(crate) fn drain(&mut self, worker: &str) -> Lines {
        let request = self.request();
        self.input(Input::Admit { request, worker: worker.into(), admission: Admission::Draining })
    }

    pub(crate) fn undrain(&mut self, worker: &str) -> Lines {
        let request = self.request();
        self.input(Input::Admit { request, worker: worker.into(), admission: Admission::Open })
    }

    /// Joins on the next session, with nothing: the first session is 1.
    pub(crate) fn join(&mut self, hello: Hello) -> Lines {
        self.join_with(hello, &[])
    }

    /// Joins with attempts, each with the slots that it takes, and whether it has started.
    pub(crate) fn join_with(&mut self, hello: Hello, held: &[(&str, u32, bool)]) -> Lines {
        let introduction = self.last_session + 1;
        self.join_as(hello, introduction, held)
    }

    /// The same, with the number of the introduction given: else every one is later than all before.
    pub(crate) fn join_as(&mut self, hello: Hello, introduction: u64, held: &[(&str, u32, bool)]) -> Lines {
        self.last_session += 1;
        let (request, session) = (self.request(), SessionId(self.last_session));
        let held =
            held.iter().map(|(id, slots, started)| Held { attempt: attempt_id(id), slots: *slots, started: *started });
        let held = held.collect();
        self.input(Input::Join { request, session, hello, introduction, held })
    }

    pub(crate) fn connect(&mut self, session: u64) -> Lines {
        let request = self.request();
        self.input(Input::Connect { request, session: SessionId(session) })
    }

    /// A worker new to the world joins and connects; the lines are what this made placeable.
    pub(crate) fn add_worker(&mut self, hello: Hello) -> Lines {
        let (id, now) = (self.snapshot().workers.len() + 1, self.now.0 / 1000);
        let who = format!("worker {id} {}/{} x{}: open", hello.name, hello.instance, hello.slots);
        let lines = self.join(hello);
        let session = self.last_session;
        assert_eq!(lines, [format!("{who}, joining s{session} until {}", now + 10), "answer: joined".to_owned()]);
        let mut lines = self.connect(session);
        assert_eq!(lines.remove(0), format!("{who}, connected s{session} since {now}"));
        assert_eq!(lines.pop().as_deref(), Some("answer: done"));
        lines
    }

    pub(crate) fn started(&mut self, session: u64, attempt: &str) -> Lines {
        self.report(session, Report::Started(attempt_id(attempt)))
    }

    /// Every end is acknowledged, whether it fits or not, if there is somebody to tell; the lines are the rest.
    pub(crate) fn ended(&mut self, session: u64, attempt: &str, end: End) -> Lines {
        let is_open = self.sessions().contains(&SessionId(session));
        let mut lines = self.report(session, Report::Ended(attempt_id(attempt), end, None));
        let (all, acknowledgement) = (lines.len(), format!("to s{session}: acknowledge {attempt}"));
        lines.retain(|line| *line != acknowledgement);
        assert_eq!(all - lines.len(), usize::from(is_open), "{attempt} is acknowledged to {session}");
        lines
    }

    pub(crate) fn leaving(&mut self, session: u64) -> Lines {
        self.report(session, Report::Leaving)
    }

    /// A heartbeat that says when it was sent, in seconds by the worker's own clock.
    pub(crate) fn heartbeat(&mut self, session: u64, sent: u64) -> Lines {
        self.report(session, Report::Heartbeat { sent: Time(sent * 1000) })
    }

    /// From now on no worker is heard of.
    pub(crate) fn fall_silent(&mut self) {
        self.silent = true;
    }

    pub(crate) fn disconnect(&mut self, session: u64) -> Lines {
        self.input(Input::Disconnect { session: SessionId(session) })
    }

    /// Lets time pass, wakes the scheduler at every deadline on the way, and lets the workers be heard of.
    pub(crate) fn pass(&mut self, seconds: u64) -> Lines {
        let end = self.now + Duration::from_secs(seconds);
        let mut lines = Lines::new();
        while self.now < end {
            let beat = Time((self.now.0 / 1000 / BEAT + 1) * BEAT * 1000);
            let due = self.scheduler.next_deadline().unwrap_or(end);
            assert!(due > self.now, "the deadline {due:?} has passed and is still there");
            self.now = due.min(beat).min(end);
            if self.now == beat && !self.silent {
                self.beat();
            }
            if self.now == due {
                lines.extend(self.input(Input::Wake));
            }
        }
        lines
    }

    fn beat(&mut self) {
        let links: Vec<Link> = self.snapshot().workers.iter().map(|worker| worker.link).collect();
        for link in links {
            let (Link::Connected { session, .. } | Link::Leaving { session, .. }) = link else { continue };
            let now = self.now.0 / 1000;
            assert_eq!(self.heartbeat(session.0, now), [format!("to s{}: renew {now}", session.0)]);
        }
    }

    /// Lets time pass without a master.
    pub(crate) fn away(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Lets time pass while the master sleeps, and wakes it once.
    pub(crate) fn oversleep(&mut self, seconds: u64) -> Lines {
        self.now = self.now + Duration::from_secs(seconds);
        self.input(Input::Wake)
    }

    /// A wake that nothing is due for.
    pub(crate) fn wake(&mut self) -> Lines {
        self.input(Input::Wake)
    }

    pub(crate) fn explain(&self, task: &str) -> Option<Explanation> {
        self.scheduler.explain(task_id(task))
    }

    pub(crate) fn holds(&self, session: u64, attempt: &str) -> bool {
        self.scheduler.holds(SessionId(session), attempt_id(attempt))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.scheduler.next_deadline().map(|time| time.0 / 1000)
    }

    /// The next deadline, if it is a task's and not a worker's lease.
    pub(crate) fn next_deadline_of_tasks(&self) -> Option<u64> {
        let snapshot = self.snapshot();
        (!snapshot.jobs.is_empty()).then(|| self.next_deadline()).flatten()
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.snapshot().workers.iter().filter_map(|worker| worker.link.session()).collect()
    }

    fn report(&mut self, session: u64, report: Report) -> Lines {
        self.input(Input::Report { session: SessionId(session), report })
    }

    fn request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn input(&mut self, input: Input) -> Lines {
        let effects = self.handle(input);
        self.told(&effects)
    }

    fn handle(&mut self, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.scheduler.handle(self.now, input, &mut effects);
        effects
    }

    /// What holds after every input, whatever it was.
    fn told(&self, effects: &Effects) -> Lines {
        assert_eq!(self.scheduler.check(), Ok(()));
        for (request, answer) in &effects.answers {
            assert_eq!(request.0, self.last_request, "{answer:?} is for whom asked");
        }
        let live = self.snapshot().jobs;
        for (_, order) in &effects.orders {
            let Order::Start(attempt, job) = order else { continue };
            assert!(
                live.iter().any(|live| live.job == *job && job.id == attempt.task.job),
                "{attempt} has its own job"
            );
        }
        render::lines(effects)
    }
}

/// A worker's words about itself; its process is `i1`.
pub(crate) fn hello(name: &str, slots: u32) -> Hello {
    Hello { name: name.into(), instance: "i1".into(), version: "1".into(), labels: Default::default(), slots }
}

/// The same worker with labels.
pub(crate) fn labelled(name: &str, slots: u32, labels: &str) -> Hello {
    Hello { labels: sortie_engine::parse_labels(labels).expect("labels"), ..hello(name, slots) }
}

pub(crate) fn task_id(text: &str) -> TaskId {
    text.parse().expect("a task's id")
}

fn attempt_id(text: &str) -> AttemptId {
    let (task, number) = text.split_once('#').expect("an attempt's id");
    task_id(task).attempt(number.parse().expect("an attempt's number"))
}

fn submission(count: u32, change: impl FnOnce(&mut TaskSpec)) -> Submission {
    let mut spec = TaskSpec {
        timeout: Duration::from_secs(TIMEOUT),
        kill_grace: Duration::from_secs(10),
        queue_timeout: Duration::from_secs(QUEUE_TIMEOUT),
        on_lost: OnLost::Fail,
        ..TaskSpec::new(Command::Line("true".into()))
    };
    change(&mut spec);
    Submission { spec, count, traceparent: None, key: None }
}

fn submitted(record: &Record) -> Option<&Submission> {
    match record {
        Record::Submitted(job) => Some(&job.submission),
        Record::Placed(..)
        | Record::Moved(..)
        | Record::Ended(..)
        | Record::Retried(..)
        | Record::GivenUp { .. }
        | Record::EndedInQueue { .. }
        | Record::Counted { .. }
        | Record::Worker(_) => None,
    }
}
