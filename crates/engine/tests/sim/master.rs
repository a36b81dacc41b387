//! The master's shell: commits, then tells; it may be killed before either.

use std::time::Duration;

use sortie_engine::{Answer, Draft, Effects, Input, JobId, Limits, Order, RequestId, Scheduler, SessionId, Submission};

use crate::network::{Down, Up};
use crate::world::{Happens, World};

/// Who waits for the answer.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    Nobody,
    Client,
    Worker(u64),
}

const REQUEST: RequestId = RequestId(0);

impl World {
    /// A new process takes up what the store has.
    pub(crate) fn master_up(&mut self) {
        if self.scheduler.is_some() {
            return;
        }
        let mut effects = Effects::default();
        let now = self.clock.at(self.now);
        let scheduler = Scheduler::recover(Limits::default(), self.store.snapshot(), now, &mut effects);
        self.scheduler = Some(scheduler);
        self.settle(effects, Asker::Nobody);
    }

    /// The master is killed: its sessions are gone, and what it had not committed.
    pub(crate) fn master_down(&mut self) {
        self.trace(|| "the master is killed".into());
        self.scheduler = None;
        let open: Vec<u64> = self.network.0.keys().copied().filter(|id| self.network.is_open(*id)).collect();
        open.into_iter().for_each(|id| self.cut(id));
        let after = if self.rng.chance(200) { self.rng.range(10_000, 90_000) } else { self.rng.range(100, 8_000) };
        self.after(after, Happens::MasterUp);
    }

    pub(crate) fn input(&mut self, input: Input, asker: Asker) {
        let now = self.clock.at(self.now);
        let Some(scheduler) = &mut self.scheduler else { return };
        let mut effects = Effects::default();
        scheduler.handle(now, input, &mut effects);
        self.settle(effects, asker);
    }

    fn settle(&mut self, effects: Effects, asker: Asker) {
        let Some(scheduler) = &self.scheduler else { return };
        assert_eq!(scheduler.check(), Ok(()));
        let is_fatal = self.is_rough && !effects.records.is_empty();
        if is_fatal && self.rng.chance(4) {
            return self.master_down();
        }
        for record in &effects.records {
            self.trace(|| format!("master: {record:?}"));
            self.store.commit(record);
            self.check_record(record);
        }
        if is_fatal && self.rng.chance(4) {
            return self.master_down();
        }
        for (session, order) in effects.orders {
            self.trace(|| format!("master to s{}: {order:?}", session.0));
            let closes = matches!(order, Order::Close(_));
            self.send_down(session.0, Down::Order(order));
            if closes {
                self.closed.insert(session.0);
            }
        }
        for (_, answer) in effects.answers {
            self.answer(asker, answer);
        }
    }

    fn answer(&mut self, asker: Asker, answer: Answer) {
        match (asker, answer) {
            (Asker::Client, Answer::Submitted(job)) => self.acknowledged.push(job),
            (Asker::Worker(id), Answer::Joined { kill }) => self.send_down(id, Down::Joined(kill)),
            (Asker::Worker(id), Answer::Done) => self.send_down(id, Down::Connected),
            (Asker::Worker(id), Answer::Refused(_)) => self.send_down(id, Down::Refused),
            (Asker::Client, Answer::Done | Answer::NotLive) => {}
            (Asker::Nobody | Asker::Client | Asker::Worker(_), answer) => panic!("{answer:?} answers nothing"),
        }
    }

    /// Something has come up a connection.
    pub(crate) fn on_up(&mut self, id: u64, up: Up) {
        let session = SessionId(id);
        if self.closed.contains(&id) {
            return;
        }
        match up {
            Up::Join(held) => {
                let connection = &self.network.0[&id];
                let (worker, life) = (&self.workers[connection.worker], connection.life);
                let mut hello = worker.hello(connection.worker);
                hello.instance = format!("{}-{life}", hello.name);
                self.input(Input::Join { request: REQUEST, session, hello, held }, Asker::Worker(id));
            }
            Up::Connect => self.input(Input::Connect { request: REQUEST, session }, Asker::Worker(id)),
            Up::Report(report) => self.input(Input::Report { session, report }, Asker::Nobody),
            Up::Closed => self.input(Input::Disconnect { session }, Asker::Nobody),
        }
    }

    pub(crate) fn submit(&mut self) {
        let mut seconds = |low, high| Some(Duration::from_secs(self.rng.range(low, high)));
        let (timeout, kill_grace, queue_timeout) = (seconds(5, 150), seconds(1, 6), seconds(20, 150));
        let slots = Some(if self.rng.chance(200) { 2 } else { 1 });
        let draft = Draft { cmd: Some("true".into()), timeout, kill_grace, queue_timeout, slots, ..Draft::default() };
        let count = u32::try_from(self.rng.range(1, 5)).unwrap_or(1);
        let submission = Submission { spec: draft.check().expect("a spec"), count, traceparent: None };
        self.input(Input::Submit { request: REQUEST, submission }, Asker::Client);
    }

    pub(crate) fn cancel(&mut self) {
        let Some(last) = self.store.jobs.last_key_value().map(|(id, _)| id.0) else { return };
        let job = JobId(self.rng.range(last.saturating_sub(3), last + 1));
        let index = u32::try_from(self.rng.range(0, 5)).unwrap_or(0);
        self.cancelled.insert(job);
        let by = "ann".to_owned();
        let input = match self.rng.chance(700) {
            true => Input::CancelTask { request: REQUEST, task: job.task(index), by },
            false => Input::CancelJob { request: REQUEST, job, by },
        };
        self.input(input, Asker::Client);
    }
}
