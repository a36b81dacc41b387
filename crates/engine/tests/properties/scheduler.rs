//! The scheduler under any history: its records tell all of its state, and every task comes to one end.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sortie_engine::{
    Answer, AttemptId, Effects, Held, Hello, Input, Limits, Link, Order, Record, Refusal, Report, RequestId, Scheduler,
    SessionId, Time,
};

use crate::config;
use crate::model::{Model, is_for};
use crate::step::{MAX_QUEUE_SECONDS, Step, history};

/// What chance is made of; any will do.
const SEED: u64 = 7;

/// A master, and beside it what can be known of it from its effects.
struct Run {
    scheduler: Scheduler,
    model: Model,
    now: Time,
    requests: usize,
    sessions: Vec<SessionId>,
    ordered: BTreeSet<AttemptId>,
}

impl Run {
    fn new() -> Self {
        Run {
            scheduler: Scheduler::new(Limits::default(), SEED),
            model: Model::default(),
            now: Time(0),
            requests: 0,
            sessions: Vec::new(),
            ordered: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        // No two things happen at the same moment, so that who came first can be read from the records.
        self.now = self.now + Duration::from_millis(1);
        let request = RequestId(self.requests + 1);
        match step {
            Step::Submit(submission) => self.ask(Input::Submit { request, submission, known: None }),
            Step::CancelTask(task) => self.ask(Input::CancelTask { request, task, by: "ann".into() }),
            Step::CancelJob(job) => self.ask(Input::CancelJob { request, job, by: "ann".into() }),
            Step::Admit(worker, admission) => self.ask(Input::Admit { request, worker: worker.into(), admission }),
            Step::Join(hello, bits, more) => self.join(hello, bits, more),
            Step::Heartbeat(pick) => {
                let session = pick_one(&self.sessions, pick).unwrap_or(SessionId(999));
                self.heartbeat(session);
            }
            Step::Heartbeats => self.model.sessions().into_iter().for_each(|session| self.heartbeat(session)),
            Step::Connect(back) => {
                let session = self.sessions.iter().rev().nth(back).copied().unwrap_or(SessionId(999));
                self.ask(Input::Connect { request, session });
            }
            Step::Right(pick, word) => {
                let Some((session, attempt)) = self.held(pick) else { return };
                self.report(session, word.about(attempt), attempt);
            }
            Step::Older(pick, word) => {
                let Some((session, attempt)) = self.held(pick) else { return };
                let older = attempt.task.attempt(attempt.number - 1);
                self.report(session, word.about(older), older);
            }
            Step::Foreign(session, pick, word) => {
                let Some((_, attempt)) = self.held(pick) else { return };
                let Some(session) = pick_one(&self.model.sessions(), session) else { return };
                self.report(session, word.about(attempt), attempt);
            }
            Step::Wrong(pick, attempt, word) => {
                let session = pick_one(&self.sessions, pick).unwrap_or(SessionId(999));
                self.report(session, word.about(attempt), attempt);
            }
            Step::Leaving(pick) => {
                let Some(session) = pick_one(&self.model.sessions(), pick) else { return };
                _ = self.input(Input::Report { session, report: Report::Leaving });
            }
            Step::Disconnect(pick) => {
                let Some(session) = pick_one(&self.model.sessions(), pick) else { return };
                self.tell(Input::Disconnect { session });
            }
            Step::Pass(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.wake();
            }
            Step::Drowse(seconds) => self.now = self.now + Duration::from_secs(seconds),
            Step::Restart => self.restart(),
        }
    }

    /// A worker joins with some of what it held before, and maybe with something else.
    fn join(&mut self, hello: Hello, bits: u32, more: Option<Held>) {
        let session = SessionId(self.sessions.len() as u64);
        self.sessions.push(session);
        let earlier = self
            .model
            .active
            .iter()
            .filter(|(_, active)| self.model.workers[&active.attempt.worker].hello.name == hello.name);
        let earlier = earlier.enumerate().map(|(n, (task, active))| {
            let (kept, gone, started) = (bits >> (n % 10), bits >> (n % 10 + 10), bits >> (n % 10 + 20));
            let slots = if gone & 3 == 3 { 0 } else { self.model.jobs[&task.job].spec().needs.slots };
            let started = active.started().is_some() || started & 1 == 1;
            (kept & 3 > 0).then_some(Held { attempt: task.attempt(active.attempt.number), slots, started })
        });
        let held: Vec<Held> = earlier.flatten().chain(more).collect();
        let (request, name) = (RequestId(self.requests + 1), hello.name.clone());
        self.requests += 1;
        let mut effects = Effects::default();
        let introduction = self.sessions.len() as u64;
        let join = Input::Join { request, session, hello, introduction, held: held.clone() };
        self.scheduler.handle(self.now, join, &mut effects);
        effects.records.iter().for_each(|record| self.model.apply(record));
        match effects.answers.as_slice() {
            [(to, Answer::Joined { kill })] if *to == request => self.model.joined(&name, &held, kill),
            [(to, Answer::Refused(Refusal::NameTaken))] if *to == request => assert!(effects.records.is_empty()),
            other => panic!("{other:?} is no answer to a worker that joins"),
        }
        effects.records.clear();
        self.account(&effects);
    }

    /// A heartbeat on a stream is acknowledged, and writes nothing.
    fn heartbeat(&mut self, session: SessionId) {
        let sent = Time(self.now.0 * 7);
        let effects = self.input(Input::Report { session, report: Report::Heartbeat { sent } });
        let orders = if self.model.has_stream(session) { vec![(session, Order::Renew { sent })] } else { vec![] };
        assert_eq!((effects.records.len(), effects.stale_reports + orders.len() as u64), (0, 1));
        assert_eq!(effects.orders, orders);
    }

    /// One of the attempts that are held by a worker that is there, and its session.
    fn held(&self, pick: usize) -> Option<(SessionId, AttemptId)> {
        let held = self.model.active.iter().filter_map(|(task, active)| {
            let session = self.model.workers[&active.attempt.worker].link.session()?;
            let attempt = task.attempt(active.attempt.number);
            self.model.holds(session, attempt).then_some((session, attempt))
        });
        pick_one(&held.collect::<Vec<_>>(), pick)
    }

    /// A request has one answer, and no report.
    fn ask(&mut self, input: Input) {
        self.requests += 1;
        let effects = self.input(input);
        let asked: Vec<_> = effects.answers.iter().map(|(request, _)| request.0).collect();
        assert_eq!((asked, effects.stale_reports), (vec![self.requests], 0));
    }

    /// What nobody asked for has no answer, and is no report.
    fn tell(&mut self, input: Input) {
        let effects = self.input(input);
        assert_eq!((effects.answers.len(), effects.stale_reports), (0, 0));
    }

    /// Nothing is overdue after a wake.
    fn wake(&mut self) {
        self.tell(Input::Wake);
        assert!(self.scheduler.next_deadline().is_none_or(|due| due > self.now));
    }

    /// A report about an attempt that the session does not hold is counted, and changes nothing.
    fn report(&mut self, session: SessionId, report: Report, attempt: AttemptId) {
        let held = self.model.holds(session, attempt);
        assert_eq!(self.scheduler.holds(session, attempt), held);
        let is_end = matches!(report, Report::Ended(..));
        let is_open = self.model.sessions().contains(&session);
        let taken_back = is_end && self.model.take_back(session, attempt) && !held;
        let effects = self.input(Input::Report { session, report });
        assert!(effects.answers.is_empty());
        let acknowledge = (session, Order::Acknowledge(attempt));
        assert_eq!(effects.orders.contains(&acknowledge), is_end && is_open, "{effects:?}");
        if taken_back {
            // Its room may have been given away, and nothing else.
            let placed = effects.records.iter().all(|record| matches!(record, Record::Placed(..)));
            assert!(placed && effects.stale_reports == 1, "{effects:?}");
            return;
        }
        assert_eq!(effects.records.is_empty(), effects.stale_reports == 1, "{effects:?}");
        if !held {
            let stop = (session, Order::Stop(attempt));
            let orders = match (is_end, is_open) {
                (true, true) => vec![acknowledge],
                (true, false) => vec![],
                (false, _) => vec![stop],
            };
            assert_eq!((effects.stale_reports, effects.orders), (1, orders));
        } else if is_end {
            let is_over = |record: &Record| match record {
                Record::Ended(task, _) | Record::Retried(task, ..) => *task == attempt.task,
                Record::Submitted(_)
                | Record::Placed(..)
                | Record::Moved(..)
                | Record::GivenUp { .. }
                | Record::EndedInQueue { .. }
                | Record::Counted { .. }
                | Record::Worker(_) => false,
            };
            assert!(effects.records.iter().any(is_over), "{attempt} has ended: {effects:?}");
        }
    }

    /// The master is killed, and a new one takes up the records.
    fn restart(&mut self) {
        let mut effects = Effects::default();
        self.scheduler = Scheduler::recover(Limits::default(), SEED, self.model.snapshot(), self.now, &mut effects);
        effects.records.iter().for_each(|record| self.model.apply(record));
        self.model.restarted();
        effects.records.clear();
        self.account(&effects);
        assert_eq!((effects.orders.len(), effects.answers.len(), effects.stale_reports), (0, 0, 0));
    }

    fn input(&mut self, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.scheduler.handle(self.now, input, &mut effects);
        self.account(&effects);
        effects
    }

    fn account(&mut self, effects: &Effects) {
        assert_eq!(self.scheduler.check(), Ok(()));
        effects.records.iter().for_each(|record| self.model.apply(record));
        self.model.check();
        let snapshot = self.scheduler.snapshot();
        assert_eq!(self.model.snapshot(), snapshot);
        let restored = Scheduler::restore(Limits::default(), SEED, snapshot.clone());
        assert_eq!(restored.snapshot(), snapshot);
        // Room that is taken by what was given up, and orphans that take none, belong to sessions.
        assert!(self.model.has_left_behind() || restored.check().is_ok(), "{:?}", restored.check());
        self.account_orders(effects);
    }

    /// What is placed is ordered, once, of the worker that it was placed on.
    fn account_orders(&mut self, effects: &Effects) {
        let placed = effects.records.iter().filter(|record| matches!(record, Record::Placed(..))).count();
        let mut started = 0;
        for (session, order) in &effects.orders {
            let Order::Start(attempt, job) = order else { continue };
            started += 1;
            assert!(self.ordered.insert(*attempt), "{attempt} is ordered twice");
            assert!(self.model.holds(*session, *attempt), "{attempt} is ordered of who holds it");
            let worker = &self.model.workers[&self.model.active[&attempt.task].attempt.worker];
            assert!(is_for(worker, job), "{attempt} is ordered of {worker:?}");
            assert_eq!(job, &self.model.jobs[&attempt.task.job]);
        }
        assert_eq!(placed, started);
    }

    /// All workers leave, and time passes.
    fn end(&mut self) {
        for session in self.model.sessions() {
            self.tell(Input::Disconnect { session });
        }
        // What is lost now is held back, and then waits once more.
        for _ in 0..3 {
            self.now = self.now + Duration::from_secs(MAX_QUEUE_SECONDS);
            self.wake();
        }
        assert!(self.model.workers.values().all(|worker| matches!(worker.link, Link::Gone { .. })));
        assert_eq!(self.scheduler.next_deadline(), None);
        let left = self.scheduler.snapshot();
        assert_eq!((left.jobs, left.active), (vec![], vec![]));
        let submitted: usize = self.model.jobs.values().map(|job| job.submission.count as usize).sum();
        assert_eq!(self.model.ended.len(), submitted);
    }
}

fn pick_one<T: Copy>(of: &[T], pick: usize) -> Option<T> {
    of.get(pick.checked_rem(of.len())?).copied()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_is_told_by_its_records_and_comes_to_an_end(steps in history(120)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.end();
    }
}
