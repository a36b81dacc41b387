//! A worker's shell round its slots, as the protocol has it, and the processes that it starts.

use std::collections::{BTreeMap, BTreeSet};

use sortie_engine::{Action, AttemptId, End, Event, Exit, Held, Hello, Job, Limits, Order, Report, Slots, Time};

use crate::network::{Down, Up};
use crate::rng::{Clock, Rng};
use crate::world::{Happens, World};

const HEARTBEAT_MS: u64 = 5_000;
/// After so long without a word from the master a worker tries another connection.
const PATIENCE_MS: u64 = 12_000;

pub(crate) struct Worker {
    pub(crate) life: u64,
    pub(crate) is_up: bool,
    pub(crate) clock: Clock,
    pub(crate) slots: Slots,
    pub(crate) connection: Option<u64>,
    total: u32,
    is_streaming: bool,
    heard: u64,
    started: BTreeSet<AttemptId>,
    /// Ends that the master has not acknowledged.
    untold: BTreeMap<AttemptId, End>,
}

/// A process, from its start on.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) worker: usize,
    pub(crate) life: u64,
    pub(crate) began: u64,
    pub(crate) ended: Option<(u64, Exit)>,
    /// Whether its worker has sent it a signal.
    pub(crate) touched: bool,
    ignores_term: bool,
}

impl Worker {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let total = u32::try_from(rng.range(1, 4)).unwrap_or(1);
        Worker {
            life: 0,
            is_up: false,
            clock: Clock::new(rng),
            slots: Slots::new(total),
            connection: None,
            total,
            is_streaming: false,
            heard: 0,
            started: BTreeSet::new(),
            untold: BTreeMap::new(),
        }
    }

    pub(crate) fn hello(&self, index: usize) -> Hello {
        let (name, instance) = (format!("w{index}"), format!("w{index}-{}", self.life));
        Hello { name, instance, version: "1".into(), labels: Default::default(), slots: self.total }
    }

    /// Whether it holds nothing, and has told all ends.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.untold.is_empty()
    }

    /// What it presents: what it holds, and what has ended and is not acknowledged.
    fn presented(&self) -> Vec<Held> {
        let untold = self.untold.keys();
        let untold =
            untold.map(|attempt| Held { attempt: *attempt, slots: 0, started: self.started.contains(attempt) });
        self.slots.held().chain(untold).collect()
    }
}

impl World {
    /// A worker's process starts: it is a new instance, and knows nothing.
    pub(crate) fn worker_up(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.life += 1;
        worker.is_up = true;
        worker.slots = Slots::new(worker.total);
        worker.started.clear();
        worker.untold.clear();
        let life = worker.life;
        self.after(HEARTBEAT_MS, Happens::Beat(index, life));
        self.dial(index, life);
    }

    /// A worker's process is killed, and what it ran with it.
    pub(crate) fn worker_down(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.is_up = false;
        worker.connection = None;
        let life = worker.life;
        for process in self.processes.values_mut().filter(|p| (p.worker, p.life) == (index, life)) {
            process.ended.get_or_insert((self.now, Exit::Signal(9)));
        }
        let after = self.rng.range(100, 10_000);
        self.after(after, Happens::WorkerUp(index));
    }

    /// Opens a connection and introduces the worker.
    pub(crate) fn dial(&mut self, index: usize, life: u64) {
        let worker = &mut self.workers[index];
        if !worker.is_up || worker.life != life || worker.connection.is_some() {
            return;
        }
        let id = self.network.open(index, life, worker.clock.at(self.now));
        worker.connection = Some(id);
        worker.is_streaming = false;
        worker.heard = self.now;
        let held = worker.presented();
        self.send_up(id, Up::Join(held));
    }

    /// Drops the connection and tries another after a while.
    pub(crate) fn hang_up(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let Some(id) = worker.connection.take() else { return };
        let life = worker.life;
        if self.rng.chance(700) {
            self.send_up(id, Up::Closed);
        }
        // Now and then the way to the master is closed for longer than a lease.
        let is_long = self.is_rough && self.rng.chance(150);
        let after = if is_long { self.rng.range(3_000, 60_000) } else { self.rng.range(50, 3_000) };
        self.after(after, Happens::Dial(index, life));
    }

    pub(crate) fn beat(&mut self, index: usize, life: u64) {
        let worker = &self.workers[index];
        if !worker.is_up || worker.life != life {
            return;
        }
        let sent = worker.clock.at(self.now);
        match worker.connection.is_some() && self.now > worker.heard + PATIENCE_MS {
            true => self.hang_up(index),
            false => self.report(index, Report::Heartbeat { sent }),
        }
        self.after(HEARTBEAT_MS, Happens::Beat(index, life));
    }

    /// Something has come down the worker's own connection.
    pub(crate) fn hear(&mut self, index: usize, joined: Time, down: Down) {
        self.workers[index].heard = self.now;
        let lease = Limits::default().lease;
        match down {
            Down::Joined(kill) => {
                self.slots(index, Event::Renewed { sent: joined, lease });
                kill.into_iter().for_each(|attempt| self.slots(index, Event::Kill(attempt)));
                let id = self.workers[index].connection.unwrap_or_default();
                self.send_up(id, Up::Connect);
            }
            Down::Connected => self.catch_up(index),
            Down::Refused => self.hang_up(index),
            Down::Order(Order::Start(attempt, job)) => self.start(index, attempt, &job),
            Down::Order(Order::Stop(attempt)) => self.slots(index, Event::Stop(attempt)),
            Down::Order(Order::Drain) => {}
            Down::Order(Order::Renew { sent }) => self.slots(index, Event::Renewed { sent, lease }),
            Down::Order(Order::Acknowledge(attempt)) => {
                assert!(self.store.ended.contains_key(&attempt.task), "{attempt} is acknowledged and on no record");
                self.workers[index].untold.remove(&attempt);
            }
            Down::Order(Order::Close(_)) => self.hang_up(index),
        }
    }

    /// Says what could not be said without a stream.
    fn catch_up(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.is_streaming = true;
        let started = worker.slots.held().filter(|held| held.started).map(|held| Report::Started(held.attempt));
        let ended = worker.untold.iter().map(|(attempt, end)| Report::Ended(*attempt, end.clone()));
        let reports: Vec<Report> = started.chain(ended).collect();
        reports.into_iter().for_each(|report| self.report(index, report));
    }

    fn start(&mut self, index: usize, attempt: AttemptId, job: &Job) {
        let spec = job.spec();
        let (slots, timeout, kill_grace) = (spec.needs.slots, spec.timeout, spec.kill_grace);
        self.slots(index, Event::Start { attempt, slots, timeout, kill_grace });
    }

    fn report(&mut self, index: usize, report: Report) {
        let worker = &self.workers[index];
        let Some(id) = worker.connection.filter(|_| worker.is_streaming) else { return };
        self.send_up(id, Up::Report(report));
    }

    /// Brings one event to the slots, and does what they say.
    pub(crate) fn slots(&mut self, index: usize, event: Event) {
        let worker = &mut self.workers[index];
        let mut actions = Vec::new();
        worker.slots.handle(worker.clock.at(self.now), event, &mut actions);
        for action in actions {
            self.trace(|| format!("w{index}: {action:?}"));
            match action {
                Action::Spawn(attempt) => {
                    let life = self.workers[index].life;
                    let after = if self.rng.chance(50) { self.rng.range(0, 5_000) } else { self.rng.range(0, 20) };
                    self.after(after, Happens::Begin(attempt, index, life));
                }
                Action::Terminate(attempt) => self.signal(attempt, 15),
                Action::Kill(attempt) => self.signal(attempt, 9),
                Action::Report(report) => {
                    let worker = &mut self.workers[index];
                    match &report {
                        Report::Started(attempt) => _ = worker.started.insert(*attempt),
                        Report::Ended(attempt, end) => _ = worker.untold.insert(*attempt, end.clone()),
                        Report::Leaving | Report::Heartbeat { .. } => {}
                    }
                    self.report(index, report);
                }
            }
        }
    }

    /// The executor starts a process, or cannot.
    pub(crate) fn begin(&mut self, attempt: AttemptId, index: usize, life: u64) {
        if !self.workers[index].is_up || self.workers[index].life != life {
            return;
        }
        if self.rng.chance(50) {
            self.unstartable.insert(attempt);
            self.slots(index, Event::SpawnFailed { attempt, errno: 2, detail: "no such file".into() });
            return;
        }
        self.check_begin(attempt);
        let ignores_term = self.rng.chance(300);
        let process = Process { worker: index, life, began: self.now, ended: None, touched: false, ignores_term };
        self.processes.insert(attempt, process);
        let long = if self.rng.chance(200) { 150_000 } else { 20_000 };
        let (after, code) = (self.rng.range(0, long), self.rng.range(0, 3));
        let exit = if self.rng.chance(50) { Exit::Signal(11) } else { Exit::Code(i32::try_from(code).unwrap_or(0)) };
        self.after(after, Happens::Die(attempt, exit));
        self.slots(index, Event::Spawned(attempt));
    }

    fn signal(&mut self, attempt: AttemptId, signal: i32) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        process.touched = true;
        if signal == 9 || !process.ignores_term {
            let after = self.rng.range(0, if signal == 9 { 50 } else { 500 });
            self.after(after, Happens::Die(attempt, Exit::Signal(signal)));
        }
    }

    pub(crate) fn die(&mut self, attempt: AttemptId, exit: Exit) {
        let Some(process) = self.processes.get_mut(&attempt).filter(|process| process.ended.is_none()) else { return };
        process.ended = Some((self.now, exit));
        let index = process.worker;
        self.trace(|| format!("w{index}: {attempt} dies: {exit:?}"));
        self.slots(index, Event::Exited(attempt, exit));
    }
}
