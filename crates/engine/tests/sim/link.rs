//! A worker's way to its master: introductions, heartbeats, and what comes down.

use sortie_engine::{AttemptId, Event, Job, Limits, Order, Refusal, Report, Time};

use crate::machine::Agent;
use crate::network::{Down, Up};
use crate::world::{Happens, World};

const HEARTBEAT_MS: u64 = 5_000;
/// How long each step of opening a session may take.
const HANDSHAKE_MS: u64 = 10_000;

/// How far a worker is with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    Introducing(u64),
    Opening(u64),
    Open(u64),
}

impl Link {
    pub(crate) fn connection(self) -> Option<u64> {
        match self {
            Link::Down => None,
            Link::Introducing(id) | Link::Opening(id) | Link::Open(id) => Some(id),
        }
    }

    pub(crate) fn is_open(self) -> bool {
        match self {
            Link::Open(_) => true,
            Link::Down | Link::Introducing(_) | Link::Opening(_) => false,
        }
    }
}

impl World {
    /// Opens a connection and introduces the worker, once nothing is left of the process before.
    pub(crate) fn dial(&mut self, index: usize, life: u64) {
        let now = self.now;
        if self.agent(index, life).is_none_or(|agent| agent.link != Link::Down) || !self.is_clean(index, life) {
            return;
        }
        if !self.is_reachable(index) {
            let after = self.rng.range(50, 3_000);
            return self.after(after, Happens::Dial(index, life));
        }
        let machine = &mut self.machines[index];
        let (hello, held) = (machine.hello(index), machine.held());
        let id = self.network.open(index, life, machine.clock.at(now), held.clone());
        let Some(agent) = machine.agent.as_mut() else { return };
        agent.introductions += 1;
        agent.link = Link::Introducing(id);
        agent.presented = held.iter().filter(|held| held.slots == 0).map(|held| held.attempt).collect();
        // What waited until now need not be said after that: the presentation tells it.
        agent.unsaid.clear();
        let introduction = agent.introductions;
        self.trace(|| {
            let held: Vec<String> = held.iter().map(|held| held.attempt.to_string()).collect();
            format!("{}: introduces itself (s{id}, number {introduction}), holding {held:?}", self.called(index))
        });
        self.send_up(id, Up::Join { hello, introduction, held });
        self.after(HANDSHAKE_MS, Happens::Handshake(index, id));
    }

    /// Whether a connection can be opened. Where the master ran, somebody says that it does not, unless all of the
    /// machine is gone.
    fn is_reachable(&mut self, index: usize) -> bool {
        let is_silent = self.is_rough() && self.rng.chance(300);
        (self.master.is_up() || is_silent) && self.machines[index].cut_off_until <= self.now
    }

    /// A session must have been opened by now.
    pub(crate) fn handshake(&mut self, index: usize, id: u64) {
        let link = self.machines[index].agent.as_ref().map(|agent| agent.link);
        if link == Some(Link::Introducing(id)) || link == Some(Link::Opening(id)) {
            self.hang_up(index);
        }
    }

    /// A connection has broken under its worker.
    pub(crate) fn agent_notices(&mut self, id: u64) {
        let index = self.network.get(id).machine;
        let agent = self.machines[index].agent.as_ref();
        if agent.is_some_and(|agent| agent.link.connection() == Some(id)) {
            self.hang_up(index);
        }
    }

    /// Drops the connection and tries another after a while.
    fn hang_up(&mut self, index: usize) {
        let Some(agent) = &mut self.machines[index].agent else { return };
        let life = agent.life;
        let Some(id) = std::mem::replace(&mut agent.link, Link::Down).connection() else { return };
        agent.drained();
        self.trace(|| format!("{}: drops s{id}", self.called(index)));
        if self.rng.chance(700) {
            self.send_up(id, Up::Closed);
        }
        // Now and then the way to the master is closed for longer than a lease.
        let is_long = self.is_rough() && self.rng.chance(150);
        let after = if is_long { self.rng.range(3_000, 60_000) } else { self.rng.range(50, 3_000) };
        self.after(after, Happens::Dial(index, life));
    }

    /// Says that the worker is there; one whose lease has run out tries another connection.
    pub(crate) fn beat(&mut self, index: usize, life: u64) {
        if self.agent(index, life).is_none() || self.leave_if_done(index) {
            return;
        }
        let machine = &self.machines[index];
        let sent = machine.clock.at(self.now);
        let is_late = machine.agent.as_ref().is_some_and(|agent| agent.link.is_open() && agent.lease_end <= sent);
        match is_late {
            true => self.hang_up(index),
            false => self.report(index, Report::Heartbeat { sent }),
        }
        self.after(HEARTBEAT_MS, Happens::Beat(index, life));
    }

    /// Something has come down a connection.
    pub(crate) fn on_down(&mut self, id: u64, down: Down) {
        let connection = self.network.get(id);
        let (index, joined) = (connection.machine, connection.joined);
        let Some(link) = self.machines[index].agent.as_ref().map(|agent| agent.link) else { return };
        if connection.is_cut || link.connection() != Some(id) {
            return;
        }
        match down {
            Down::Joined(kill) if link == Link::Introducing(id) => self.welcome(index, id, joined, kill),
            Down::Connected if link == Link::Opening(id) => self.open(index, id),
            Down::Joined(_) | Down::Connected => {}
            Down::Refused(refusal) => self.refused(index, refusal),
            Down::Order(order) => self.on_order(index, order),
        }
    }

    /// The master has judged what was presented. Of what it does not want, an end is forgotten only if it was presented
    /// as one: of anything else, the master keeps the room until it is told that it is gone.
    fn welcome(&mut self, index: usize, id: u64, joined: Time, kill: Vec<AttemptId>) {
        self.renew(index, joined);
        for attempt in kill {
            self.check_unwanted(attempt);
            let machine = &mut self.machines[index];
            if machine.agent.as_ref().is_some_and(|agent| agent.presented.contains(&attempt)) {
                machine.journal.forget(attempt);
            }
            if self.machines[index].agent.as_ref().is_some_and(|agent| agent.slots.holds(attempt)) {
                self.saw("a worker comes back with what is over and not gone");
            }
            self.slots(index, Event::Kill(attempt));
        }
        // It may have died over it.
        let Some(agent) = &mut self.machines[index].agent else { return };
        agent.link = Link::Opening(id);
        self.send_up(id, Up::Connect);
    }

    /// There is somebody to tell: all ends first, then what else has happened since the presentation.
    fn open(&mut self, index: usize, id: u64) {
        let machine = &mut self.machines[index];
        let mut reports = vec![Report::Heartbeat { sent: machine.clock.at(self.now) }];
        reports.extend(machine.journal.reports());
        let Some(agent) = machine.agent.as_mut() else { return };
        agent.link = Link::Open(id);
        let unsaid = std::mem::take(&mut agent.unsaid);
        reports.extend(unsaid.into_iter().filter(|attempt| !machine.journal.has_ended(*attempt)).map(Report::Started));
        if let Some(leaving) = &mut agent.leaving {
            leaving.awaits_drain = true;
            reports.push(Report::Leaving);
        }
        reports.into_iter().for_each(|report| self.report(index, report));
    }

    /// Most try again; some take it that the master will say the same again, and end.
    fn refused(&mut self, index: usize, refusal: Refusal) {
        match refusal {
            Refusal::NameTaken if self.is_rough() && self.rng.chance(200) => self.agent_dies(index),
            Refusal::NameTaken | Refusal::Outdated | Refusal::NoSession => self.hang_up(index),
        }
    }

    fn on_order(&mut self, index: usize, order: Order) {
        match order {
            // A repeat that crossed with the end of what it starts.
            Order::Start(attempt, _) if self.machines[index].journal.has_ended(attempt) => {}
            Order::Start(attempt, job) => self.start(index, attempt, &job),
            Order::Stop(attempt) => self.slots(index, Event::Stop(attempt)),
            Order::Drain => self.machines[index].agent.iter_mut().for_each(Agent::drained),
            Order::Renew { sent } => self.renew(index, sent),
            Order::Acknowledge(attempt) => {
                self.check_acknowledged(attempt);
                self.machines[index].journal.forget(attempt);
            }
            Order::Close(_) => self.hang_up(index),
        }
    }

    fn renew(&mut self, index: usize, sent: Time) {
        let lease = Limits::default().lease;
        let agent = self.machines[index].agent.as_mut();
        agent.into_iter().for_each(|agent| agent.lease_end = agent.lease_end.max(sent + lease));
        self.slots(index, Event::Renewed { sent, lease });
    }

    fn start(&mut self, index: usize, attempt: AttemptId, job: &Job) {
        let spec = job.spec();
        let (slots, timeout, kill_grace) = (spec.needs.slots, spec.timeout, spec.kill_grace);
        self.slots(index, Event::Start { attempt, slots, timeout, kill_grace });
    }

    /// Tells the master, if there is a session. What else has started is said after the next presentation, and what
    /// has ended stands in the journal.
    pub(crate) fn report(&mut self, index: usize, report: Report) {
        let Some(agent) = &mut self.machines[index].agent else { return };
        match (agent.link, &report) {
            (Link::Open(id), _) => self.send_up(id, Up::Report(report)),
            (_, Report::Started(attempt)) => agent.unsaid.push(*attempt),
            (_, Report::Ended(..) | Report::Leaving | Report::Heartbeat { .. }) => {}
        }
    }
}
