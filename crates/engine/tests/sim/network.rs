//! Connections: each delays what goes over it and keeps its order, until it is cut and loses what is under way.

use std::collections::BTreeMap;

use sortie_engine::{AttemptId, Held, Hello, Order, Refusal, Report, Time};

use crate::rng::Rng;
use crate::world::{Happens, World};

/// From a worker to its master.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    /// The call that comes before the stream, and has no order with it.
    Join {
        hello: Hello,
        introduction: u64,
        held: Vec<Held>,
    },
    Connect,
    Report(Report),
    /// The worker has dropped the connection.
    Closed,
}

/// From the master to a worker.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Joined(Vec<AttemptId>),
    Connected,
    Refused(Refusal),
    Order(Order),
}

/// One connection of one process of a machine; its number is its session's.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) machine: usize,
    /// Which of its processes.
    pub(crate) life: u64,
    /// When the worker sent its introduction, by its own clock.
    pub(crate) joined: Time,
    /// What the worker presented.
    pub(crate) presented: Vec<Held>,
    /// Nothing gets through any more.
    pub(crate) is_cut: bool,
    /// Nothing that is sent up now gets through any more, and nobody is told of it.
    is_mute: bool,
    /// The master has ended it and reads nothing more of it.
    pub(crate) is_closed: bool,
    last_up: u64,
    last_down: u64,
}

#[derive(Default)]
pub(crate) struct Network(BTreeMap<u64, Connection>);

impl Network {
    pub(crate) fn open(&mut self, machine: usize, life: u64, joined: Time, presented: Vec<Held>) -> u64 {
        let id = self.0.last_key_value().map_or(1, |(id, _)| id + 1);
        let connection = Connection {
            machine,
            life,
            joined,
            presented,
            is_cut: false,
            is_mute: false,
            is_closed: false,
            last_up: 0,
            last_down: 0,
        };
        self.0.insert(id, connection);
        id
    }

    pub(crate) fn get(&self, id: u64) -> &Connection {
        &self.0[&id]
    }

    /// Whether the master still reads what comes up.
    pub(crate) fn is_read(&self, id: u64) -> bool {
        self.0.get(&id).is_some_and(|connection| !connection.is_cut && !connection.is_closed)
    }

    /// The connections that are not cut.
    pub(crate) fn uncut(&self) -> Vec<u64> {
        self.0.iter().filter(|(_, connection)| !connection.is_cut).map(|(id, _)| *id).collect()
    }

    /// Whether the process of a connection has opened a later one.
    pub(crate) fn is_superseded(&self, id: u64) -> bool {
        let by = |other: &Connection| (other.machine, other.life) == (self.0[&id].machine, self.0[&id].life);
        self.0.range(id + 1..).any(|(_, other)| by(other))
    }

    /// Whether something is still on its way down a connection.
    pub(crate) fn is_late(&self, id: u64, now: u64) -> bool {
        self.0.get(&id).is_some_and(|connection| connection.last_down > now)
    }

    /// The master reads nothing more of a connection.
    pub(crate) fn close(&mut self, id: u64) {
        if let Some(connection) = self.0.get_mut(&id) {
            connection.is_closed = true;
        }
    }

    /// When what is sent up now arrives.
    fn up(&mut self, id: u64, up: &Up, now: u64, is_rough: bool, rng: &mut Rng) -> Option<u64> {
        let connection = self.0.get_mut(&id)?;
        if matches!(up, Up::Join { .. }) && is_rough && rng.chance(60) {
            return Some(now + rng.range(50, 40_000));
        }
        if connection.is_mute {
            return None;
        }
        connection.last_up = connection.last_up.max(now + delay(is_rough, rng));
        if is_rough && rng.chance(8) {
            // This gets through as the last, and the answer takes its time.
            connection.is_mute = true;
            connection.last_down = connection.last_down.max(now + rng.range(2_000, 16_000));
        }
        Some(connection.last_up)
    }

    /// When what is sent down now arrives.
    fn down(&mut self, id: u64, now: u64, is_rough: bool, rng: &mut Rng) -> Option<u64> {
        let connection = self.0.get_mut(&id)?;
        connection.last_down = connection.last_down.max(now + delay(is_rough, rng));
        Some(connection.last_down)
    }

    /// Nothing arrives for a while; all of it does then.
    pub(crate) fn stall(&mut self, id: u64, now: u64, rng: &mut Rng) {
        let Some(connection) = self.0.get_mut(&id) else { return };
        connection.last_up = connection.last_up.max(now + rng.range(0, 25_000));
        connection.last_down = connection.last_down.max(now + rng.range(0, 25_000));
    }
}

impl World {
    /// Cuts a connection: what is under way is lost, and either side notices soon, or by the silence alone.
    pub(crate) fn cut(&mut self, id: u64, notice_per_mille: u64, notice_ms: u64) {
        self.trace(|| format!("network: connection {id} is cut"));
        let connection = self.network.0.get_mut(&id);
        connection.into_iter().for_each(|connection| connection.is_cut = true);
        for notices in [Happens::MasterNotices(id), Happens::AgentNotices(id)] {
            if self.rng.chance(notice_per_mille) {
                let after = self.rng.range(0, notice_ms);
                self.after(after, notices);
            }
        }
    }

    pub(crate) fn send_up(&mut self, id: u64, up: Up) {
        if let Some(at) = self.network.up(id, &up, self.now, self.is_rough(), &mut self.rng) {
            self.at(at, Happens::Up(id, up));
        }
    }

    pub(crate) fn send_down(&mut self, id: u64, down: Down) {
        if let Some(at) = self.network.down(id, self.now, self.is_rough(), &mut self.rng) {
            self.at(at, Happens::Down(id, down));
        }
    }
}

fn delay(is_rough: bool, rng: &mut Rng) -> u64 {
    if is_rough { rng.mostly(50, 10, 1_500) } else { rng.range(0, 50) }
}
