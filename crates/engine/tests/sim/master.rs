//! The master's shell: takes what has happened in batches, commits, then tells; it may be killed before either.

use std::collections::BTreeMap;

use sortie_engine::{Answer, Effects, Input, Limits, Order, Refusal, RequestId, Scheduler, SessionId};

use crate::clients::Ask;
use crate::network::{Down, Up};
use crate::rng::{Clock, Rng};
use crate::world::{Happens, World};

/// Whether the master tells before it persists, as it must not: a switch for the tests of this test.
const TELLS_FIRST: bool = false;

pub(crate) struct Master {
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) up_since: u64,
    /// For how long its next commit takes longer than others.
    stall_ms: u64,
    /// How many processes there have been.
    life: u64,
    process: Option<Process>,
}

/// The master's process.
struct Process {
    scheduler: Scheduler,
    inbox: Vec<Input>,
    askers: BTreeMap<RequestId, Asker>,
    requests: usize,
    /// What is on disk, or about to be, and has not been told; nothing is taken up before it has.
    untold: Option<Effects>,
}

/// Who waits for the answer.
#[derive(Clone)]
pub(crate) enum Asker {
    Client(Ask),
    Worker(u64),
}

impl Master {
    pub(crate) fn new(limits: Limits, rng: &mut Rng) -> Self {
        Master { clock: Clock::new(rng), limits, up_since: 0, stall_ms: 0, life: 0, process: None }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A number for a question, if there is somebody to ask.
    pub(crate) fn request(&mut self, asker: Asker) -> Option<RequestId> {
        let process = self.process.as_mut()?;
        let request = RequestId(process.requests);
        process.requests += 1;
        process.askers.insert(request, asker);
        Some(request)
    }

    /// When the master next does something by itself.
    pub(crate) fn wakes(&self) -> Option<u64> {
        let process = self.process.as_ref().filter(|process| process.untold.is_none())?;
        process.scheduler.next_deadline().map(|deadline| self.clock.when(deadline))
    }
}

impl World {
    /// A new process takes up what the store has.
    pub(crate) fn master_up(&mut self) {
        if self.master.is_up() {
            return;
        }
        let seed = self.rng.next();
        let master = &mut self.master;
        master.life += 1;
        master.up_since = self.now;
        if self.kind.is_rough() {
            master.clock = master.clock.restarted(self.now, &mut self.rng);
        }
        let (now, limits) = (master.clock.at(self.now), master.limits.clone());
        let mut effects = Effects::default();
        let scheduler = Scheduler::recover(limits, seed, self.store.snapshot(), now, &mut effects);
        master.process =
            Some(Process { scheduler, inbox: Vec::new(), askers: BTreeMap::new(), requests: 0, untold: None });
        self.trace(|| "master: starts".into());
        self.check_scheduler();
        self.finish(effects);
    }

    /// The disk takes its time over the next commit.
    pub(crate) fn master_stalls(&mut self) {
        self.saw("the disk stalls");
        self.master.stall_ms = self.rng.range(500, 25_000);
    }

    /// Something has happened to the master, which hears of it with its next batch.
    pub(crate) fn input(&mut self, input: Input) {
        let Some(process) = &mut self.master.process else { return };
        process.inbox.push(input);
        if process.inbox.len() == 1 && process.untold.is_none() {
            let after = self.rng.range(0, 3);
            self.after(after, Happens::Turn(self.master.life));
        }
    }

    /// Takes up what has happened, what is due first.
    pub(crate) fn turn(&mut self, life: u64) {
        if life != self.master.life {
            return;
        }
        let Some(process) = self.master.process.as_mut().filter(|process| process.untold.is_none()) else { return };
        let inbox = std::mem::take(&mut process.inbox);
        let mut effects = Effects::default();
        for input in std::iter::once(Input::Wake).chain(inbox) {
            self.handle(input, &mut effects);
        }
        self.check_scheduler();
        self.check_gauge();
        self.finish(effects);
    }

    /// A deadline of the master's has come.
    pub(crate) fn wake(&mut self) {
        self.turn(self.master.life);
    }

    fn handle(&mut self, mut input: Input, effects: &mut Effects) {
        if let Input::Submit { submission, known, .. } = &mut input {
            *known = self.store.by_key(submission.key.as_ref());
        }
        let now = self.master.clock.at(self.now);
        let answers = effects.answers.len();
        let Some(process) = &mut self.master.process else { return };
        process.scheduler.handle(now, input, effects);
        let is_full = effects.answers[answers..].iter().any(|(_, answer)| *answer == Answer::QueueFull);
        if is_full {
            self.check_full();
        }
    }

    /// Commits, and tells some time later, unless the master is killed in between.
    fn finish(&mut self, mut effects: Effects) {
        let has_records = !effects.records.is_empty();
        if TELLS_FIRST {
            self.say(std::mem::take(&mut effects.orders), std::mem::take(&mut effects.answers));
        }
        if has_records && self.is_fatal() {
            return self.master_down();
        }
        for record in &effects.records {
            self.trace(|| format!("master: {}", crate::words::record(record, self.master.clock)));
            self.check_record(record);
            self.store.commit(record);
        }
        if effects.stale_reports > 0 {
            self.saw("a report is stale");
        }
        self.check_snapshot();
        if has_records && self.is_fatal() {
            return self.master_down();
        }
        let usual = if has_records { self.rng.mostly(5, 20, 300) } else { 0 };
        let after = usual + if has_records { std::mem::take(&mut self.master.stall_ms) } else { 0 };
        let Some(process) = &mut self.master.process else { return };
        process.untold = Some(effects);
        match after {
            0 => self.tell(self.master.life),
            _ => self.after(after, Happens::Tell(self.master.life)),
        }
    }

    /// Tells what is on disk, and goes on with what has happened meanwhile.
    pub(crate) fn tell(&mut self, life: u64) {
        let Some(process) = self.master.process.as_mut().filter(|_| life == self.master.life) else { return };
        let Some(effects) = process.untold.take() else { return };
        if !process.inbox.is_empty() {
            self.after(0, Happens::Turn(life));
        }
        self.say(effects.orders, effects.answers);
    }

    fn say(&mut self, orders: Vec<(SessionId, Order)>, answers: Vec<(RequestId, Answer)>) {
        for (SessionId(id), order) in &orders {
            self.trace(|| format!("master: to s{id}: {}", crate::words::order(order, self.clock_of(*id))));
            self.check_order(*id, order);
            self.send_down(*id, Down::Order(order.clone()));
            if matches!(order, Order::Close(_)) {
                self.network.close(*id);
            }
        }
        for (request, answer) in answers {
            let asker = self.master.process.as_mut().and_then(|process| process.askers.remove(&request));
            match asker {
                Some(Asker::Client(ask)) => self.answer_client(ask, answer),
                Some(Asker::Worker(id)) => self.answer_worker(id, answer, &orders),
                None => panic!("{answer:?} answers nothing"),
            }
        }
    }

    fn answer_worker(&mut self, id: u64, answer: Answer, orders: &[(SessionId, Order)]) {
        self.trace(|| format!("master: to s{id}: {answer:?}"));
        let down = match answer {
            Answer::Joined { kill } => {
                self.check_joined(id, &kill);
                Down::Joined(kill)
            }
            Answer::Done => {
                self.check_connected(id, orders);
                Down::Connected
            }
            Answer::Refused(refusal) => {
                self.saw(match refusal {
                    Refusal::NameTaken => "a name is taken",
                    Refusal::Outdated => "an introduction is outdated",
                    Refusal::NoSession => "a session is over before its stream is opened",
                });
                Down::Refused(refusal)
            }
            Answer::Submitted(_) | Answer::Repeated(_) | Answer::KeyTaken(_) | Answer::QueueFull | Answer::NotLive => {
                panic!("{answer:?} answers no worker")
            }
        };
        self.send_down(id, down);
    }

    /// Something has come up a connection.
    pub(crate) fn on_up(&mut self, id: u64, up: Up) {
        let session = SessionId(id);
        if !self.network.is_read(id) {
            return;
        }
        self.trace(|| format!("master: from s{id}: {}", crate::words::up(&up, self.clock_of(id))));
        let input = match up {
            Up::Join { hello, introduction, held } => {
                let Some(request) = self.master.request(Asker::Worker(id)) else { return };
                Input::Join { request, session, hello, introduction, held }
            }
            Up::Connect => {
                let Some(request) = self.master.request(Asker::Worker(id)) else { return };
                Input::Connect { request, session }
            }
            Up::Report(report) => {
                self.note_report(id, &report);
                Input::Report { session, report }
            }
            Up::Closed => Input::Disconnect { session },
        };
        self.input(input);
    }

    /// The clock at the other end of a connection.
    fn clock_of(&self, id: u64) -> Clock {
        self.machines[self.network.get(id).machine].clock
    }

    /// The scheduler, for those who look into it.
    pub(crate) fn scheduler(&self) -> Option<&Scheduler> {
        self.master.process.as_ref().map(|process| &process.scheduler)
    }
}
