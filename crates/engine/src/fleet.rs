//! The workers: who is connected, what room they have, and which one a task goes to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AttemptId, SessionId, TaskId, WorkerId};
use crate::labels::Labels;
use crate::spec::Needs;
use crate::time::Time;

/// What a worker says about itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name that people know it by.
    pub name: String,
    /// Its process, by an id that is new at every start.
    pub instance: String,
    /// The version of its binary.
    pub version: String,
    /// What it is labelled with.
    pub labels: Labels,
    /// How many slots it has.
    pub slots: u32,
}

/// An attempt that a worker presents when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The slots that it takes; none once its command is gone and only its end has not been told.
    pub slots: u32,
    /// Whether its command has started.
    pub started: bool,
}

/// What the master remembers of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The number that stands for its name.
    pub id: WorkerId,
    /// What it said about itself when it last joined.
    pub hello: Hello,
    /// How many processes have joined under its name, with the one that joined last.
    pub incarnation: u32,
    /// Whether it may be given new tasks.
    pub admission: Admission,
    /// Whether it is there.
    pub link: Link,
}

/// Whether a worker may be given new tasks: an operator's wish, which outlives its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// It finishes what it holds and gets nothing new.
    Draining,
}

/// A worker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has introduced itself and has not opened its stream yet.
    Joining {
        /// Its session.
        session: SessionId,
        /// When the master stops waiting for it.
        until: Time,
    },
    /// It takes orders.
    Connected {
        /// Its session.
        session: SessionId,
        /// Since when.
        since: Time,
    },
    /// It is being stopped: it reports what it still holds and takes nothing new.
    Leaving {
        /// Its session.
        session: SessionId,
        /// Since when.
        since: Time,
    },
    /// Its session has ended, and what it holds may go on until its lease has run out.
    Unreachable {
        /// Since when.
        since: Time,
        /// When its lease, and the master's margin after it, has run out.
        until: Time,
    },
    /// It is not there, and holds nothing.
    Gone {
        /// Since when.
        since: Time,
    },
}

/// A worker and what it holds.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) worker: Worker,
    pub(crate) used: u32,
    pub(crate) held: BTreeSet<TaskId>,
    /// Attempts that the master has given up and the worker has not said to be gone, with the slots they take.
    pub(crate) given_up: BTreeMap<AttemptId, u32>,
    /// Tasks that an earlier session held and this one does not: they take none of its room, and wait for the end
    /// of the earlier lease.
    pub(crate) orphans: BTreeSet<TaskId>,
    /// The last introduction of its process.
    pub(crate) introduction: u64,
    /// When the worker was last heard of.
    pub(crate) heard: Time,
    /// Until when a worker that is back may say what it could not say before: no attempt is overdue earlier.
    pub(crate) patience: Time,
}

/// All workers that ever joined, with the indices that find them fast.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    members: BTreeMap<WorkerId, Member>,
    names: BTreeMap<String, WorkerId>,
    sessions: BTreeMap<SessionId, WorkerId>,
    /// Workers that can be given a task, most free slots first.
    free: BTreeSet<(Reverse<u32>, WorkerId)>,
}

impl Link {
    /// The session, while there is one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Link::Joining { session, .. } | Link::Connected { session, .. } | Link::Leaving { session, .. } => {
                Some(*session)
            }
            Link::Unreachable { .. } | Link::Gone { .. } => None,
        }
    }

    /// The name as clients see it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Link::Joining { .. } => "joining",
            Link::Connected { .. } => "connected",
            Link::Leaving { .. } => "leaving",
            Link::Unreachable { .. } => "unreachable",
            Link::Gone { .. } => "gone",
        }
    }
}

impl Member {
    /// The slots that a new task could take.
    pub(crate) fn free(&self) -> u32 {
        match (self.worker.link, self.worker.admission) {
            (Link::Connected { .. }, Admission::Open) => {
                self.worker.hello.slots.saturating_sub(self.used.saturating_add(self.given_up_slots()))
            }
            (Link::Joining { .. } | Link::Leaving { .. } | Link::Unreachable { .. } | Link::Gone { .. }, _)
            | (_, Admission::Draining) => 0,
        }
    }

    /// The slots of what was given up; what a worker presents may add up to anything.
    pub(crate) fn given_up_slots(&self) -> u32 {
        self.given_up.values().fold(0, |sum, slots| sum.saturating_add(*slots))
    }

    fn place(&self) -> Option<(Reverse<u32>, WorkerId)> {
        let free = self.free();
        (free > 0).then_some((Reverse(free), self.worker.id))
    }
}

impl Fleet {
    /// Adds a worker, or one that a store remembers.
    pub(crate) fn insert(&mut self, worker: Worker) {
        let id = worker.id;
        self.names.insert(worker.hello.name.clone(), id);
        self.sessions.extend(worker.link.session().map(|session| (session, id)));
        self.members.insert(
            id,
            Member {
                worker,
                used: 0,
                held: BTreeSet::new(),
                given_up: BTreeMap::new(),
                orphans: BTreeSet::new(),
                introduction: 0,
                heard: Time::default(),
                patience: Time::default(),
            },
        );
        self.update(id, |_| ());
    }

    /// Changes a member; the one place that keeps the indices true.
    pub(crate) fn update<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Member) -> R) -> Option<R> {
        let member = self.members.get_mut(&id)?;
        let (place, session) = (member.place(), member.worker.link.session());
        let result = change(member);
        let (new_place, new_session) = (member.place(), member.worker.link.session());
        if place != new_place || new_place.is_some() {
            place.map(|place| self.free.remove(&place));
            self.free.extend(new_place);
        }
        if session != new_session {
            session.map(|session| self.sessions.remove(&session));
            self.sessions.extend(new_session.map(|session| (session, id)));
        }
        Some(result)
    }

    /// The worker with the most free slots of those that meet `needs`.
    pub(crate) fn pick(&self, needs: &Needs) -> Option<WorkerId> {
        let roomy = self.free.iter().take_while(|(Reverse(free), _)| *free >= needs.slots);
        let mut ids = roomy.map(|(_, id)| *id);
        ids.find(|id| self.members.get(id).is_some_and(|member| needs.selector.matches(&member.worker.hello.labels)))
    }

    pub(crate) fn get(&self, id: WorkerId) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Member> {
        self.names.get(name).and_then(|id| self.members.get(id))
    }

    pub(crate) fn by_session(&self, session: SessionId) -> Option<&Member> {
        self.sessions.get(&session).and_then(|id| self.members.get(id))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> + '_ {
        self.members.values()
    }

    /// The number for the next name.
    pub(crate) fn next_id(&self) -> WorkerId {
        WorkerId(self.members.last_key_value().map_or(1, |(id, _)| id.0 + 1))
    }

    /// Whether the indices say what the members say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let free: BTreeSet<_> = self.members.values().filter_map(Member::place).collect();
        let sessions: BTreeMap<_, _> =
            self.members.values().filter_map(|m| m.worker.link.session().map(|s| (s, m.worker.id))).collect();
        let names: BTreeMap<_, _> = self.members.values().map(|m| (m.worker.hello.name.clone(), m.worker.id)).collect();
        if (free, sessions, names) == (self.free.clone(), self.sessions.clone(), self.names.clone()) {
            Ok(())
        } else {
            Err(format!("the fleet's indices are not what its members say: {self:?}"))
        }
    }
}
