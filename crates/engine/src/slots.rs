//! The worker's state machine: which attempts it holds, and what is to be done about each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{End, Report};
use crate::fleet::Held as Presented;
use crate::id::AttemptId;
use crate::task::Usage;
use crate::time::Time;

/// Everything that can happen to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The master orders an attempt to be run.
    Start {
        /// Which attempt.
        attempt: AttemptId,
        /// How many slots it takes.
        slots: u32,
        /// How long its command may run.
        timeout: Duration,
        /// How long its command has between TERM and KILL.
        kill_grace: Duration,
    },
    /// The master orders an attempt to be stopped.
    Stop(AttemptId),
    /// The executor has started the command.
    Spawned(AttemptId),
    /// The executor could not start the command.
    SpawnFailed {
        /// Which attempt.
        attempt: AttemptId,
        /// The system's error number.
        errno: i32,
        /// What could not be done.
        detail: String,
    },
    /// The executor has not started the command, as it was told to.
    Withheld(AttemptId),
    /// The command and all that it started are gone.
    Exited(AttemptId, Exit, Usage),
    /// The master orders an attempt to be killed at once: it is not this worker's any more.
    Kill(AttemptId),
    /// The master has heard what was sent then: the lease is counted anew.
    Renewed {
        /// When it was sent.
        sent: Time,
        /// How long the lease is.
        lease: Duration,
    },
    /// The worker is being stopped: what still runs at `stop_at` is stopped too.
    Leave {
        /// Until when commands may end by themselves.
        stop_at: Time,
    },
    /// The time of [`Slots::next_deadline`] has come.
    Wake,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// By the kernel, which had no memory left.
    OutOfMemory,
}

/// What a worker has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the attempt's command.
    Spawn(AttemptId),
    /// Do not start the command after all, unless that has happened. The answer is [`Event::Withheld`], or any other.
    Withhold(AttemptId),
    /// Send TERM to the command's process group.
    Terminate(AttemptId),
    /// Send KILL to the command's process group.
    Kill(AttemptId),
    /// Tell the master.
    Report(Report),
}

/// The attempts that a worker holds.
#[derive(Debug)]
pub struct Slots {
    total: u32,
    mode: Mode,
    /// When the worker must have killed what it holds, unless the lease is renewed before.
    lease_end: Time,
    held: BTreeMap<AttemptId, Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    Leaving { stop_at: Time },
    Stopping,
}

#[derive(Clone, Debug)]
struct Held {
    slots: u32,
    timeout: Duration,
    kill_grace: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The executor has been asked to start the command.
    Starting,
    /// The same, and the command is to be stopped as soon as it runs.
    Doomed(Cause),
    /// The same, and the command is to be killed as soon as it runs.
    Condemned(Cause),
    /// The command runs.
    Running { timeout_at: Time },
    /// TERM has been sent.
    Stopping { cause: Cause, kill_at: Time },
    /// KILL has been sent.
    Killed(Cause),
}

/// Why the worker stops a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Timeout,
    Order,
    Leaving,
    Lease,
}

impl Slots {
    /// A worker with `total` slots that holds nothing.
    #[must_use]
    pub fn new(total: u32) -> Self {
        Slots { total, mode: Mode::Serving, lease_end: Time::default(), held: BTreeMap::new() }
    }

    /// Takes one event in, and adds what is to be done about it to `actions`.
    pub fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Start { attempt, slots, timeout, kill_grace } => {
                let held = Held { slots, timeout, kill_grace, phase: Phase::Starting };
                self.start(now, attempt, held, actions);
            }
            Event::Stop(attempt) => self.stop(now, attempt, Cause::Order, actions),
            Event::Spawned(attempt) => self.spawned(now, attempt, actions),
            Event::SpawnFailed { attempt, errno, detail } => {
                self.finish(attempt, End::CouldNotStart { errno, detail }, None, actions);
            }
            Event::Withheld(attempt) => self.finish(attempt, End::Refused, None, actions),
            Event::Exited(attempt, exit, usage) => self.finish(attempt, exit.end(), Some(usage), actions),
            Event::Kill(attempt) => self.kill(attempt, Cause::Order, actions),
            Event::Renewed { sent, lease } => self.lease_end = self.lease_end.max(sent + lease),
            Event::Leave { stop_at } => self.leave(stop_at),
            Event::Wake => self.wake(now, actions),
        }
    }

    /// When [`Event::Wake`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let stop_at = match self.mode {
            Mode::Leaving { stop_at } => Some(stop_at),
            Mode::Serving | Mode::Stopping => None,
        };
        let lease_end = self.held.values().any(|held| !held.phase.is_killed()).then_some(self.lease_end);
        self.held.values().filter_map(|held| held.phase.deadline()).chain(stop_at).chain(lease_end).min()
    }

    /// Whether the worker holds no attempt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the worker holds this attempt.
    #[must_use]
    pub fn holds(&self, attempt: AttemptId) -> bool {
        self.held.contains_key(&attempt)
    }

    /// The attempts that the worker holds, as it presents them when it joins.
    pub fn held(&self) -> impl Iterator<Item = Presented> + '_ {
        self.held.iter().map(|(attempt, held)| Presented {
            attempt: *attempt,
            slots: held.slots,
            started: !matches!(held.phase, Phase::Starting | Phase::Doomed(_) | Phase::Condemned(_)),
        })
    }

    fn attempts(&self) -> Vec<AttemptId> {
        self.held.keys().copied().collect()
    }

    /// An order for an attempt that is held already is a repeat, and changes nothing. One that was under way for
    /// longer than the lease is not this worker's to carry out any more.
    fn start(&mut self, now: Time, attempt: AttemptId, held: Held, actions: &mut Vec<Action>) {
        if self.holds(attempt) {
            return;
        }
        let used: u32 = self.held.values().map(|held| held.slots).sum();
        let full = used.saturating_add(held.slots) > self.total;
        if full || self.mode == Mode::Stopping || self.lease_end <= now {
            actions.push(Action::Report(Report::Ended(attempt, End::Refused, None)));
            return;
        }
        self.held.insert(attempt, held);
        actions.push(Action::Spawn(attempt));
    }

    /// Stops an attempt; the first cause is the one that counts.
    fn stop(&mut self, now: Time, attempt: AttemptId, cause: Cause, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&attempt) else { return };
        match held.phase {
            Phase::Starting => {
                held.phase = Phase::Doomed(cause);
                actions.push(Action::Withhold(attempt));
            }
            Phase::Running { .. } => {
                held.phase = Phase::Stopping { cause, kill_at: now + held.kill_grace };
                actions.push(Action::Terminate(attempt));
            }
            Phase::Doomed(_) | Phase::Condemned(_) | Phase::Stopping { .. } | Phase::Killed(_) => {}
        }
    }

    fn spawned(&mut self, now: Time, attempt: AttemptId, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&attempt) else { return };
        match held.phase {
            Phase::Starting => {
                held.phase = Phase::Running { timeout_at: now + held.timeout };
                actions.push(Action::Report(Report::Started(attempt)));
            }
            Phase::Condemned(cause) => {
                held.phase = Phase::Killed(cause);
                actions.push(Action::Report(Report::Started(attempt)));
                actions.push(Action::Kill(attempt));
            }
            Phase::Doomed(cause) => {
                held.phase = Phase::Stopping { cause, kill_at: now + held.kill_grace };
                actions.push(Action::Report(Report::Started(attempt)));
                actions.push(Action::Terminate(attempt));
            }
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killed(_) => {}
        }
    }

    /// Lets an attempt go; what the worker itself did to it is its end, before what the process says.
    fn finish(&mut self, attempt: AttemptId, end: End, usage: Option<Usage>, actions: &mut Vec<Action>) {
        let Some(held) = self.held.remove(&attempt) else { return };
        let end = match held.phase {
            Phase::Starting | Phase::Running { .. } => end,
            Phase::Doomed(Cause::Order) | Phase::Condemned(Cause::Order) => End::Stopped,
            Phase::Doomed(Cause::Timeout | Cause::Leaving | Cause::Lease)
            | Phase::Condemned(Cause::Timeout | Cause::Leaving | Cause::Lease) => end,
            Phase::Stopping { cause, .. } | Phase::Killed(cause) => cause.end(),
        };
        actions.push(Action::Report(Report::Ended(attempt, end, usage)));
    }

    /// Sets the time to stop, or another one; once it has come, no word lets commands start again.
    fn leave(&mut self, stop_at: Time) {
        match self.mode {
            Mode::Serving | Mode::Leaving { .. } => self.mode = Mode::Leaving { stop_at },
            Mode::Stopping => {}
        }
    }

    /// Kills an attempt without a grace; the first cause is the one that counts.
    fn kill(&mut self, attempt: AttemptId, cause: Cause, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&attempt) else { return };
        match held.phase {
            Phase::Starting => {
                held.phase = Phase::Condemned(cause);
                actions.push(Action::Withhold(attempt));
            }
            Phase::Doomed(first) => held.phase = Phase::Condemned(first),
            Phase::Running { .. } => {
                held.phase = Phase::Killed(cause);
                actions.push(Action::Kill(attempt));
            }
            Phase::Stopping { cause: first, .. } => {
                held.phase = Phase::Killed(first);
                actions.push(Action::Kill(attempt));
            }
            Phase::Condemned(_) | Phase::Killed(_) => {}
        }
    }

    fn wake(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.lease_end <= now {
            for attempt in self.attempts() {
                self.kill(attempt, Cause::Lease, actions);
            }
        }
        match self.mode {
            Mode::Leaving { stop_at } if stop_at <= now => {
                self.mode = Mode::Stopping;
                for attempt in self.attempts() {
                    self.stop(now, attempt, Cause::Leaving, actions);
                }
            }
            Mode::Serving | Mode::Leaving { .. } | Mode::Stopping => {}
        }
        for attempt in self.attempts() {
            self.wake_one(now, attempt, actions);
        }
    }

    fn wake_one(&mut self, now: Time, attempt: AttemptId, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&attempt) else { return };
        match held.phase {
            Phase::Running { timeout_at } if timeout_at <= now => self.stop(now, attempt, Cause::Timeout, actions),
            Phase::Stopping { cause, kill_at } if kill_at <= now => {
                held.phase = Phase::Killed(cause);
                actions.push(Action::Kill(attempt));
            }
            Phase::Starting
            | Phase::Doomed(_)
            | Phase::Condemned(_)
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Killed(_) => {}
        }
    }
}

impl Exit {
    /// What the master is told of a command that nobody stopped.
    fn end(self) -> End {
        match self {
            Exit::Code(code) => End::Exited(code),
            Exit::Signal(signal) => End::Signaled(signal),
            Exit::OutOfMemory => End::OutOfMemory,
        }
    }
}

impl Phase {
    fn is_killed(self) -> bool {
        matches!(self, Phase::Killed(_) | Phase::Condemned(_))
    }

    fn deadline(self) -> Option<Time> {
        match self {
            Phase::Running { timeout_at } => Some(timeout_at),
            Phase::Stopping { kill_at, .. } => Some(kill_at),
            Phase::Starting | Phase::Doomed(_) | Phase::Condemned(_) | Phase::Killed(_) => None,
        }
    }
}

impl Cause {
    /// What the master is told of a command that was stopped for this cause.
    fn end(self) -> End {
        match self {
            Cause::Timeout => End::TimedOut,
            Cause::Order => End::Stopped,
            Cause::Leaving => End::WorkerStopped,
            Cause::Lease => End::LeaseEnded,
        }
    }
}
