//! A master, a few machines, clients and the network between them: what happens next, wherever it happens.

use std::collections::{BTreeMap, BTreeSet};

use sortie_engine::{Answer, AttemptId, Event, Exit, Input, SessionId};

use crate::clients::{Ask, Clients};
use crate::faults::{Kind, limits};
use crate::machine::Machine;
use crate::master::Master;
use crate::network::{Down, Network, Up};
use crate::process::Process;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::store::Store;

/// For how long clients ask and things break, in milliseconds.
const STORM_MS: u64 = 120_000;
/// By when every task must have come to its end.
const END_MS: u64 = STORM_MS + 3_000_000;

/// No more than so many things happen at the same moment, or time has come to a stop.
const MAX_AT_ONCE: u32 = 10_000;

/// What happens at a moment. What has a machine's number happens to its worker's process, which may be frozen.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    Submit,
    TrySubmit(usize),
    Cancel,
    Operate,
    OpenAll,
    Ask(Ask),
    Answer(Ask, Answer),
    Fault,
    MasterUp,
    Turn(u64),
    Tell(u64),
    Up(u64, Up),
    Down(u64, Down),
    MasterNotices(u64),
    AgentNotices(u64),
    AgentUp(usize),
    Guard(usize),
    Dial(usize, u64),
    Handshake(usize, u64),
    Beat(usize, u64),
    Begin(AttemptId, usize, u64),
    Withheld(AttemptId, usize, u64),
    Left(AttemptId, usize, u64),
    Reaped(AttemptId, usize, u64),
    Exit(AttemptId, Exit),
    Signal(AttemptId, i32),
    Gone(AttemptId),
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) kind: Kind,
    pub(crate) master: Master,
    pub(crate) store: Store,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    pub(crate) unstartable: BTreeSet<AttemptId>,
    /// When the order for an attempt was committed.
    pub(crate) placed: BTreeMap<AttemptId, u64>,
    /// What nobody has confirmed to be gone may still run, or begin to.
    pub(crate) unproven: BTreeSet<AttemptId>,
    pub(crate) clients: Clients,
    pub(crate) seen: Seen,
    /// How long after one fault the next one comes, at most.
    calm_ms: u64,
    agenda: BTreeMap<(u64, u64), Happens>,
    entries: u64,
    at_once: u32,
    is_traced: bool,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let (kind, mut rng) = (Kind::of(seed), Rng::new(seed));
        let limits = limits(&mut rng);
        let master = Master::new(limits, &mut rng);
        let machines = kind.machines(&mut rng);
        let calm_ms = rng.range(4_000, 30_000);
        World {
            rng,
            now: 0,
            kind,
            master,
            store: Store::default(),
            network: Network::default(),
            machines,
            processes: BTreeMap::new(),
            unstartable: BTreeSet::new(),
            placed: BTreeMap::new(),
            unproven: BTreeSet::new(),
            clients: Clients::default(),
            seen: Seen::default(),
            calm_ms,
            agenda: BTreeMap::new(),
            entries: 0,
            at_once: 0,
            is_traced,
        }
    }

    /// From nothing to the end of everything that was submitted.
    pub(crate) fn run(&mut self) {
        self.trace(|| format!("a history of the kind {:?}, with {:?}", self.kind, self.master.limits));
        self.master_up();
        for index in 0..self.machines.len() {
            self.after(0, Happens::AgentUp(index));
        }
        for first in [Happens::Submit, Happens::Cancel, Happens::Operate, Happens::Fault] {
            let after = self.rng.range(100, 8_000);
            self.after(after, first);
        }
        self.after(STORM_MS, Happens::OpenAll);
        while self.is_stormy() || !self.is_over() {
            assert!(self.now < END_MS, "not everything has come to its end");
            self.step();
        }
        self.check_end();
    }

    /// Whether clients ask and things may break.
    pub(crate) fn is_stormy(&self) -> bool {
        self.now < STORM_MS
    }

    /// Whether machines and networks go wrong.
    pub(crate) fn is_rough(&self) -> bool {
        self.kind.is_rough() && self.is_stormy()
    }

    fn is_over(&self) -> bool {
        let live = self.processes.values().any(|process| process.gone.is_none());
        self.store.is_done() && self.clients.are_content() && !live && self.is_all_told()
    }

    /// Whether every end has been acknowledged; one of two machines with one name may never come to tell.
    fn is_all_told(&self) -> bool {
        let is_twin = |machine: &Machine| self.machines.iter().filter(|other| other.name == machine.name).count() > 1;
        self.machines.iter().all(|machine| machine.journal.is_empty() || is_twin(machine))
    }

    /// The next thing that happens anywhere. What has happened comes before what is due.
    fn step(&mut self) {
        let agenda = self.agenda.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let master = self.master.wakes().unwrap_or(u64::MAX);
        let wakes = self.machines.iter().enumerate().filter_map(|(n, machine)| Some((machine.wakes()?, n)));
        let (agent, index) = wakes.min().unwrap_or((u64::MAX, 0));
        let now = self.now.max(agenda.min(master).min(agent));
        self.at_once = if now == self.now { self.at_once + 1 } else { 0 };
        assert!(self.at_once < MAX_AT_ONCE, "a deadline passes and is still there");
        self.now = now;
        if agenda <= self.now {
            self.next();
        } else if agent <= self.now {
            self.slots(index, Event::Wake);
        } else {
            self.wake();
        }
    }

    fn next(&mut self) {
        let Some(((_, entry), happens)) = self.agenda.pop_first() else { return };
        let frozen = self.happens_to(&happens).and_then(|index| self.machines[index].agent.as_ref());
        match frozen.map(|agent| agent.frozen_until).filter(|until| *until > self.now) {
            Some(until) => _ = self.agenda.insert((until, entry), happens),
            None => self.happen(happens),
        }
    }

    /// The machine whose worker this happens to.
    fn happens_to(&self, happens: &Happens) -> Option<usize> {
        match happens {
            Happens::Down(id, _) | Happens::AgentNotices(id) => Some(self.network.get(*id).machine),
            Happens::Dial(index, _)
            | Happens::Handshake(index, _)
            | Happens::Beat(index, _)
            | Happens::Begin(_, index, _)
            | Happens::Withheld(_, index, _)
            | Happens::Left(_, index, _)
            | Happens::Reaped(_, index, _) => Some(*index),
            Happens::Submit | Happens::TrySubmit(_) | Happens::Cancel | Happens::Operate | Happens::OpenAll => None,
            Happens::Ask(_) | Happens::Answer(..) | Happens::Fault | Happens::MasterUp => None,
            Happens::Turn(_) | Happens::Tell(_) | Happens::Up(..) | Happens::MasterNotices(_) => None,
            Happens::AgentUp(_) | Happens::Guard(_) => None,
            Happens::Exit(..) | Happens::Signal(..) | Happens::Gone(_) => None,
        }
    }

    fn happen(&mut self, happens: Happens) {
        match happens {
            Happens::Submit => self.every(happens, 9_000, Self::submit),
            Happens::TrySubmit(intent) => self.try_submit(intent),
            Happens::Cancel => self.every(happens, 25_000, Self::cancel),
            Happens::Operate => self.every(happens, 40_000, Self::operate),
            Happens::OpenAll => self.open_all(),
            Happens::Ask(ask) => self.asked(ask),
            Happens::Answer(ask, answer) => self.answered(ask, answer),
            Happens::Fault => self.every(happens, self.calm_ms, Self::fault),
            Happens::MasterUp => self.master_up(),
            Happens::Turn(life) => self.turn(life),
            Happens::Tell(life) => self.tell(life),
            Happens::Up(id, up) => self.on_up(id, up),
            Happens::Down(id, down) => self.on_down(id, down),
            Happens::MasterNotices(id) => self.input(Input::Disconnect { session: SessionId(id) }),
            Happens::AgentNotices(id) => self.agent_notices(id),
            Happens::AgentUp(index) => self.agent_up(index),
            Happens::Guard(index) => self.kill_leftovers(index),
            Happens::Dial(index, life) => self.dial(index, life),
            Happens::Handshake(index, id) => self.handshake(index, id),
            Happens::Beat(index, life) => self.beat(index, life),
            Happens::Begin(attempt, index, life) => self.begin(attempt, index, life),
            Happens::Withheld(attempt, index, life) => self.withheld(attempt, index, life),
            Happens::Left(attempt, index, life) => self.left(attempt, index, life),
            Happens::Reaped(attempt, index, life) => self.reaped(attempt, index, life),
            Happens::Exit(attempt, exit) => self.exit(attempt, exit),
            Happens::Signal(attempt, signal) => self.signal(attempt, signal),
            Happens::Gone(attempt) => self.gone(attempt),
        }
    }

    /// Does something now, and again after a while, until the storm is over.
    fn every(&mut self, happens: Happens, most_ms: u64, act: fn(&mut Self)) {
        if self.is_stormy() {
            let after = self.rng.range(100, most_ms);
            self.after(after, happens);
            act(self);
        }
    }

    pub(crate) fn after(&mut self, ms: u64, happens: Happens) {
        self.at(self.now + ms, happens);
    }

    pub(crate) fn at(&mut self, at: u64, happens: Happens) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), happens);
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        self.seen.add(what);
    }

    #[expect(clippy::print_stderr, reason = "a replayed history is for reading")]
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>9.3} {}", self.now as f64 / 1000.0, line());
        }
    }
}
