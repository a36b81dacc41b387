//! Machines, the workers' processes on them, and how both come to their end.

use std::collections::{BTreeMap, BTreeSet};

use sortie_engine::{AttemptId, Event, Held, Hello, Report, Slots, Time};

use crate::faults::{GUARD_MS, KILL_MS};
use crate::journal::Journal;
use crate::link::Link;
use crate::network::Up;
use crate::rng::{Clock, Rng};
use crate::world::{Happens, World};

/// How often a new process looks whether what the last one left is gone.
const LOOK_MS: u64 = 50;
/// For how long a worker that is being stopped waits for the master once nothing runs.
const LEAVE_MS: u64 = 30_000;

/// A machine, by a name that another one may have too.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) total: u32,
    /// Its disk hangs: so do starts, and processes that were killed.
    pub(crate) is_sick: bool,
    pub(crate) journal: Journal,
    /// The worker's process, while there is one.
    pub(crate) agent: Option<Agent>,
    /// How many processes there have been.
    pub(crate) lives: u64,
    /// Until when it does not reach the master.
    pub(crate) cut_off_until: u64,
    /// Until when what runs here may run elsewhere too: the worker was frozen for longer than its lease.
    pub(crate) excused_until: u64,
}

/// A worker's process.
pub(crate) struct Agent {
    pub(crate) life: u64,
    pub(crate) slots: Slots,
    pub(crate) link: Link,
    /// When it must have heard from the master, by its own clock, to go on with its session.
    pub(crate) lease_end: Time,
    pub(crate) frozen_until: u64,
    /// Whether it has seen to what the last process left.
    pub(crate) is_clean: bool,
    pub(crate) introductions: u64,
    /// What its executor is about to start, and when.
    pub(crate) starting: BTreeMap<AttemptId, u64>,
    /// The ends among what it last presented.
    pub(crate) presented: BTreeSet<AttemptId>,
    /// The starts since then, which nobody has been told of.
    pub(crate) unsaid: Vec<AttemptId>,
    pub(crate) leaving: Option<Leaving>,
}

/// A worker is being stopped.
pub(crate) struct Leaving {
    pub(crate) since: u64,
    /// There may be orders under way to it.
    pub(crate) awaits_drain: bool,
}

impl Machine {
    pub(crate) fn new(name: String, is_sick: bool, rng: &mut Rng) -> Self {
        Machine {
            name,
            clock: Clock::new(rng),
            total: rng.small(1, 5),
            is_sick,
            journal: Journal::default(),
            agent: None,
            lives: 0,
            cut_off_until: 0,
            excused_until: 0,
        }
    }

    /// What a process says about itself.
    pub(crate) fn hello(&self, place: usize) -> Hello {
        let instance = format!("{place}-{}", self.lives);
        Hello { name: self.name.clone(), instance, version: "1".into(), labels: Default::default(), slots: self.total }
    }

    /// What its worker presents: what it holds, and what has ended and is not acknowledged.
    pub(crate) fn held(&self) -> Vec<Held> {
        let held = self.agent.iter().flat_map(|agent| agent.slots.held());
        held.chain(self.journal.presented()).collect()
    }

    /// When its worker next does something by itself.
    pub(crate) fn wakes(&self) -> Option<u64> {
        let agent = self.agent.as_ref()?;
        let due = self.clock.when(agent.slots.next_deadline()?);
        Some(due.max(agent.frozen_until))
    }

    fn has_left(&self, now: u64) -> bool {
        let Some(Agent { leaving: Some(leaving), slots, .. }) = &self.agent else { return false };
        let told = self.journal.is_empty() && !leaving.awaits_drain;
        slots.is_empty() && (told || now > leaving.since + LEAVE_MS)
    }
}

impl Agent {
    /// No order is under way to it any more.
    pub(crate) fn drained(&mut self) {
        self.leaving.iter_mut().for_each(|leaving| leaving.awaits_drain = false);
    }
}

impl World {
    /// How a machine and its worker are called in what is told of a history.
    pub(crate) fn called(&self, index: usize) -> String {
        let machine = &self.machines[index];
        format!("{} (machine {index}, process {})", machine.name, machine.lives)
    }

    /// The worker's process that this was meant for, if it is still there.
    pub(crate) fn agent(&mut self, index: usize, life: u64) -> Option<&mut Agent> {
        self.machines[index].agent.as_mut().filter(|agent| agent.life == life)
    }

    /// A worker's process starts: it is a new instance, and knows what its machine's journal says.
    pub(crate) fn agent_up(&mut self, index: usize) {
        let changes = self.is_rough() && self.rng.chance(150);
        let total = self.rng.small(1, 5);
        let machine = &mut self.machines[index];
        if machine.agent.is_some() {
            return;
        }
        machine.lives += 1;
        if changes {
            machine.total = total;
        }
        let life = machine.lives;
        machine.agent = Some(Agent {
            life,
            slots: Slots::new(machine.total),
            link: Link::Down,
            lease_end: Time::default(),
            frozen_until: 0,
            is_clean: false,
            introductions: 0,
            starting: BTreeMap::new(),
            presented: BTreeSet::new(),
            unsaid: Vec::new(),
            leaving: None,
        });
        self.trace(|| format!("{}: starts, with {} slots", self.called(index), self.machines[index].total));
        self.kill_leftovers(index);
        self.beat(index, life);
        self.after(0, Happens::Dial(index, life));
    }

    /// Whether nothing runs any more that an earlier process had started; before, a worker does not introduce itself.
    pub(crate) fn is_clean(&mut self, index: usize, life: u64) -> bool {
        if self.agent(index, life).is_some_and(|agent| agent.is_clean) {
            return true;
        }
        if self.leftovers(index).next().is_some() {
            self.after(LOOK_MS, Happens::Dial(index, life));
            return false;
        }
        self.machines[index].journal.abandon();
        self.agent(index, life).into_iter().for_each(|agent| agent.is_clean = true);
        true
    }

    /// What earlier processes of a machine have started and is not gone.
    fn leftovers(&self, index: usize) -> impl Iterator<Item = AttemptId> + '_ {
        let life = self.machines[index].agent.as_ref().map(|agent| agent.life);
        let left = self.processes.iter().filter(move |(_, process)| {
            process.machine == index && Some(process.life) != life && process.gone.is_none()
        });
        left.map(|(attempt, _)| *attempt)
    }

    /// What a dead process has left is killed: by its guard, or by the next process.
    pub(crate) fn kill_leftovers(&mut self, index: usize) {
        for attempt in self.leftovers(index).collect::<Vec<_>>() {
            let after = self.rng.range(0, KILL_MS);
            self.after(after, Happens::Signal(attempt, 9));
        }
    }

    /// A worker's process is killed; its guard sees to what it ran, and another process may be there before it has.
    pub(crate) fn agent_dies(&mut self, index: usize) {
        let Some(agent) = self.machines[index].agent.take() else { return };
        self.saw("a worker's process is killed");
        self.trace(|| format!("{}: is killed", self.called(index)));
        if let Some(id) = agent.link.connection() {
            // What it has said may still be under way.
            match self.rng.chance(500) {
                true => self.send_up(id, Up::Closed),
                false => self.cut(id, 700, 3_000),
            }
        }
        let (guard, up) = (self.rng.range(0, GUARD_MS), self.rng.range(100, 10_000));
        self.after(guard, Happens::Guard(index));
        self.after(up, Happens::AgentUp(index));
    }

    /// A machine is gone, with all that ran on it, and with what it remembered; another one takes its place.
    pub(crate) fn machine_dies(&mut self, index: usize) {
        self.saw("a machine dies");
        self.trace(|| format!("{}: the machine dies", self.called(index)));
        let machine = &mut self.machines[index];
        machine.journal = Journal::default();
        let agent = machine.agent.take();
        for process in self.processes.values_mut().filter(|process| process.machine == index) {
            process.vanish(self.now);
        }
        if let Some(id) = agent.and_then(|agent| agent.link.connection()) {
            self.cut(id, 300, 3_000);
        }
        let up = self.rng.range(1_000, 60_000);
        self.after(up, Happens::AgentUp(index));
    }

    /// A worker is asked to stop: it finishes what it can, tells it, and ends.
    pub(crate) fn agent_leaves(&mut self, index: usize) {
        let now = self.now;
        let for_ms = self.rng.range(0, 30_000);
        let machine = &mut self.machines[index];
        let shown = machine.clock.at(now);
        let is_able = |agent: &&mut Agent| agent.leaving.is_none() && agent.frozen_until <= now;
        let Some(agent) = machine.agent.as_mut().filter(is_able) else { return };
        let is_open = agent.link.is_open();
        agent.leaving = Some(Leaving { since: now, awaits_drain: is_open });
        self.saw("a worker is stopped");
        self.trace(|| format!("{}: is being stopped", self.called(index)));
        if is_open {
            self.report(index, Report::Leaving);
        }
        let stop_at = if is_open { Time(shown.0 + for_ms) } else { shown };
        self.slots(index, Event::Leave { stop_at });
    }

    /// A worker that was to leave, and has, is followed by another process.
    pub(crate) fn leave_if_done(&mut self, index: usize) -> bool {
        if !self.machines[index].has_left(self.now) {
            return false;
        }
        self.trace(|| format!("{}: has left", self.called(index)));
        let agent = self.machines[index].agent.take();
        if let Some(id) = agent.and_then(|agent| agent.link.connection()) {
            self.send_up(id, Up::Closed);
        }
        let up = self.rng.range(100, 10_000);
        self.after(up, Happens::AgentUp(index));
        true
    }
}
