//! One master, a few workers, their clients and the network between them; everything by chance, and replayable.

use std::collections::{BTreeMap, BTreeSet};

use sortie_engine::{AttemptId, Event, Exit, Input, JobId, Scheduler, SessionId};

use crate::master::Asker;
use crate::network::{Down, Network, Up};
use crate::rng::{Clock, Rng};
use crate::store::Store;
use crate::worker::{Process, Worker};

/// For how long clients ask and things break, in milliseconds.
const ROUGH_MS: u64 = 120_000;
/// By when every task must have come to its end.
const END_MS: u64 = ROUGH_MS + 300_000;

/// No more than so many things happen at the same moment, or time has come to a stop.
const MAX_AT_ONCE: u32 = 10_000;

/// What happens at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    Submit,
    Cancel,
    Fault,
    MasterUp,
    WorkerUp(usize),
    Up(u64, Up),
    Down(u64, Down),
    MasterNotices(u64),
    WorkerNotices(u64),
    Dial(usize, u64),
    Beat(usize, u64),
    Begin(AttemptId, usize, u64),
    Die(AttemptId, Exit),
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) is_rough: bool,
    pub(crate) had_fault: bool,
    pub(crate) clock: Clock,
    /// The master's process, while there is one.
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) store: Store,
    pub(crate) network: Network,
    /// Sessions that the master has closed.
    pub(crate) closed: BTreeSet<u64>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    pub(crate) unstartable: BTreeSet<AttemptId>,
    pub(crate) acknowledged: Vec<JobId>,
    /// Jobs of which somebody cancelled something.
    pub(crate) cancelled: BTreeSet<JobId>,
    agenda: BTreeMap<(u64, u64), Happens>,
    entries: u64,
    at_once: u32,
    is_traced: bool,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let clock = Clock::new(&mut rng);
        let workers = (0..rng.range(2, 4)).map(|_| Worker::new(&mut rng)).collect();
        World {
            rng,
            now: 0,
            // One history in eight is without faults: then nothing may be lost.
            is_rough: !seed.is_multiple_of(8),
            had_fault: false,
            clock,
            scheduler: None,
            store: Store::default(),
            network: Network::default(),
            closed: BTreeSet::new(),
            workers,
            processes: BTreeMap::new(),
            unstartable: BTreeSet::new(),
            acknowledged: Vec::new(),
            cancelled: BTreeSet::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            at_once: 0,
            is_traced,
        }
    }

    /// From nothing to the end of everything that was submitted.
    pub(crate) fn run(&mut self) {
        self.master_up();
        for index in 0..self.workers.len() {
            self.after(0, Happens::WorkerUp(index));
        }
        for first in [Happens::Submit, Happens::Cancel, Happens::Fault] {
            let after = self.rng.range(100, 8_000);
            self.after(after, first);
        }
        while self.now < ROUGH_MS || !self.is_over() {
            assert!(self.now < END_MS, "not everything has come to its end");
            self.next();
            self.is_rough &= self.now < ROUGH_MS;
        }
        self.check_end();
    }

    fn is_over(&self) -> bool {
        self.store.is_done() && self.workers.iter().all(Worker::is_idle)
    }

    /// The next thing that happens anywhere.
    fn next(&mut self) {
        let agenda = self.agenda.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let master =
            self.scheduler.as_ref().and_then(Scheduler::next_deadline).map_or(u64::MAX, |t| self.clock.when(t));
        let wakes = self.workers.iter().enumerate().filter(|(_, worker)| worker.is_up);
        let wakes = wakes.filter_map(|(n, worker)| Some((worker.clock.when(worker.slots.next_deadline()?), n)));
        let (worker, index) = wakes.min().unwrap_or((u64::MAX, 0));
        let now = self.now.max(agenda.min(master).min(worker));
        self.at_once = if now == self.now { self.at_once + 1 } else { 0 };
        assert!(self.at_once < MAX_AT_ONCE, "a deadline passes and is still there");
        self.now = now;
        if worker <= self.now {
            self.slots(index, Event::Wake);
        } else if master <= self.now {
            self.input(Input::Wake, Asker::Nobody);
        } else if let Some((_, happens)) = self.agenda.pop_first() {
            self.happen(happens);
        }
    }

    fn happen(&mut self, happens: Happens) {
        self.trace(|| format!("{happens:?}"));
        match happens {
            Happens::Submit => self.every(happens, 8_000, Self::submit),
            Happens::Cancel => self.every(happens, 15_000, Self::cancel),
            Happens::Fault if self.is_rough => self.every(happens, 15_000, Self::fault),
            Happens::Fault => {}
            Happens::MasterUp => self.master_up(),
            Happens::WorkerUp(index) => self.worker_up(index),
            Happens::Up(id, up) => {
                if self.network.is_open(id) {
                    self.on_up(id, up);
                }
            }
            Happens::Down(id, down) => self.on_down(id, down),
            Happens::MasterNotices(id) => self.input(Input::Disconnect { session: SessionId(id) }, Asker::Nobody),
            Happens::WorkerNotices(id) => {
                let index = self.network.0[&id].worker;
                if self.workers[index].connection == Some(id) {
                    self.hang_up(index);
                }
            }
            Happens::Dial(index, life) => self.dial(index, life),
            Happens::Beat(index, life) => self.beat(index, life),
            Happens::Begin(attempt, index, life) => self.begin(attempt, index, life),
            Happens::Die(attempt, exit) => self.die(attempt, exit),
        }
    }

    /// Does something now, and again after a while, until the rough time is over.
    fn every(&mut self, happens: Happens, most_ms: u64, act: fn(&mut Self)) {
        if self.now < ROUGH_MS {
            let after = self.rng.range(100, most_ms);
            self.after(after, happens);
            act(self);
        }
    }

    fn on_down(&mut self, id: u64, down: Down) {
        let connection = &self.network.0[&id];
        let (index, joined) = (connection.worker, connection.joined);
        if !connection.is_cut && self.workers[index].connection == Some(id) {
            self.hear(index, joined, down);
        }
    }

    fn fault(&mut self) {
        self.had_fault = true;
        let index = usize::try_from(self.rng.range(0, self.workers.len() as u64)).unwrap_or(0);
        let connection = self.workers[index].connection;
        match (self.rng.range(0, 10), connection) {
            (0, _) if self.scheduler.is_some() => self.master_down(),
            (1, _) if self.workers[index].is_up => {
                self.worker_down(index);
                connection.into_iter().for_each(|id| self.cut(id));
            }
            (2..4, Some(id)) => self.network.stall(id, self.now, &mut self.rng),
            (4.., Some(id)) => self.cut(id),
            _ => {}
        }
    }

    /// Cuts a connection: what is under way is lost, and either side notices soon, or by the silence alone.
    pub(crate) fn cut(&mut self, id: u64) {
        self.had_fault = true;
        let Some(connection) = self.network.0.get_mut(&id) else { return };
        connection.is_cut = true;
        for notices in [Happens::MasterNotices(id), Happens::WorkerNotices(id)] {
            if self.rng.chance(700) {
                let after = self.rng.range(0, 3_000);
                self.after(after, notices);
            }
        }
    }

    pub(crate) fn send_up(&mut self, id: u64, up: Up) {
        if let Some(at) = self.network.up(id, self.now, &mut self.rng) {
            self.at(at, Happens::Up(id, up));
        }
    }

    pub(crate) fn send_down(&mut self, id: u64, down: Down) {
        if let Some(at) = self.network.down(id, self.now, &mut self.rng) {
            self.at(at, Happens::Down(id, down));
        }
    }

    pub(crate) fn after(&mut self, ms: u64, happens: Happens) {
        self.at(self.now + ms, happens);
    }

    fn at(&mut self, at: u64, happens: Happens) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), happens);
    }

    #[expect(clippy::print_stderr, reason = "a replayed history is for reading")]
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>8} {}", self.now, line());
        }
    }
}
