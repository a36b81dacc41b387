//! Connections: each delays what goes over it and keeps its order, until it is cut and loses what is under way.

use std::collections::BTreeMap;

use sortie_engine::{AttemptId, Held, Order, Report, Time};

use crate::rng::Rng;

/// From a worker to its master.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Join(Vec<Held>),
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
    Refused,
    Order(Order),
}

/// One connection of one life of a worker; its number is its session's.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: usize,
    pub(crate) life: u64,
    /// When the worker sent its introduction, by its own clock.
    pub(crate) joined: Time,
    pub(crate) is_cut: bool,
    last_up: u64,
    last_down: u64,
}

#[derive(Default)]
pub(crate) struct Network(pub(crate) BTreeMap<u64, Connection>);

impl Network {
    pub(crate) fn open(&mut self, worker: usize, life: u64, joined: Time) -> u64 {
        let id = self.0.last_key_value().map_or(1, |(id, _)| id + 1);
        self.0.insert(id, Connection { worker, life, joined, is_cut: false, last_up: 0, last_down: 0 });
        id
    }

    /// When what is sent up now arrives.
    pub(crate) fn up(&mut self, id: u64, now: u64, rng: &mut Rng) -> Option<u64> {
        let connection = self.0.get_mut(&id)?;
        connection.last_up = connection.last_up.max(now + delay(rng));
        Some(connection.last_up)
    }

    /// When what is sent down now arrives.
    pub(crate) fn down(&mut self, id: u64, now: u64, rng: &mut Rng) -> Option<u64> {
        let connection = self.0.get_mut(&id)?;
        connection.last_down = connection.last_down.max(now + delay(rng));
        Some(connection.last_down)
    }

    /// Nothing arrives for a while; all of it does then.
    pub(crate) fn stall(&mut self, id: u64, now: u64, rng: &mut Rng) {
        let Some(connection) = self.0.get_mut(&id) else { return };
        connection.last_up = connection.last_up.max(now + rng.range(0, 25_000));
        connection.last_down = connection.last_down.max(now + rng.range(0, 25_000));
    }

    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.0.get(&id).is_some_and(|connection| !connection.is_cut)
    }
}

fn delay(rng: &mut Rng) -> u64 {
    if rng.chance(10) { rng.range(50, 1500) } else { rng.range(1, 50) }
}
