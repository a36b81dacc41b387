//! A worker's slots under any history: no command is forgotten, and every end is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sortie_engine::{Action, AttemptId, End, Event, Exit, JobId, Report, Slots, Time, Usage};

use crate::config;

const TOTAL_SLOTS: u32 = 4;
const LEASE: Duration = Duration::from_secs(15);

/// One thing that happens; a `usize` picks one of what there is.
#[derive(Clone, Debug)]
enum Step {
    Start {
        slots: u32,
        timeout: u64,
        grace: u64,
    },
    Repeat(usize),
    Stop(usize),
    Spawned(usize),
    SpawnFailed(usize),
    /// The executor has not started what it was told to withhold.
    Withheld(usize),
    Exited(usize, Exit),
    /// The executor speaks of an attempt that ended, or never was.
    Nonsense(usize),
    Kill(usize),
    /// An acknowledgement of what was sent so many seconds ago.
    Renewed {
        ago: u64,
    },
    Leave {
        after: u64,
    },
    Pass(u64),
}

/// What can be known of an attempt from the orders, the actions and the executor.
#[derive(Debug)]
struct Known {
    slots: u32,
    process: Process,
    /// It may be killed without having been told to end: by order, or at the end of the lease.
    condemned: bool,
    withheld: bool,
    started: bool,
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Refused,
    Asked,
    Alive,
    Terminated,
    Killed,
    Gone { touched: bool },
}

impl Process {
    fn is_held(self) -> bool {
        !matches!(self, Process::Refused | Process::Gone { .. })
    }

    fn is_alive(self) -> bool {
        matches!(self, Process::Alive | Process::Terminated | Process::Killed)
    }
}

/// A worker, and an executor that does what it is told.
struct Run {
    slots: Slots,
    now: Time,
    known: BTreeMap<AttemptId, Known>,
    leave: Leave,
    lease_end: Time,
}

/// Whether the worker is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    No,
    At(Time),
    Over,
}

impl Run {
    fn step(&mut self, step: Step) {
        match step {
            Step::Start { slots, timeout, grace } => self.start(slots, timeout, grace),
            Step::Repeat(pick) => {
                let Some(attempt) = self.pick(pick, Process::is_held) else { return };
                let (timeout, kill_grace) = (Duration::from_secs(1), Duration::from_secs(1));
                let actions = self.handle(Event::Start { attempt, slots: 1, timeout, kill_grace });
                assert_eq!(actions, []);
            }
            Step::Stop(pick) => {
                let Some(attempt) = self.pick(pick, |_| true) else { return };
                self.event(Event::Stop(attempt));
            }
            Step::Spawned(pick) => {
                let Some(attempt) = self.pick(pick, |process| process == Process::Asked) else { return };
                self.become_of(attempt, Process::Alive);
                self.event(Event::Spawned(attempt));
            }
            Step::SpawnFailed(pick) => {
                let Some(attempt) = self.pick(pick, |process| process == Process::Asked) else { return };
                self.become_of(attempt, Process::Gone { touched: false });
                self.event(Event::SpawnFailed { attempt, errno: 2, detail: "no such file".into() });
            }
            Step::Withheld(pick) => {
                let Some(attempt) = self.pick(pick, |process| process == Process::Asked) else { return };
                if self.known[&attempt].withheld {
                    self.become_of(attempt, Process::Gone { touched: false });
                    self.event(Event::Withheld(attempt));
                }
            }
            Step::Exited(pick, exit) => {
                let Some(attempt) = self.pick(pick, Process::is_alive) else { return };
                self.exit(attempt, exit);
            }
            Step::Nonsense(pick) => {
                let attempt = self.pick(pick, |process| !process.is_held()).unwrap_or(JobId(999).task(0).attempt(1));
                assert_eq!(self.handle(Event::Spawned(attempt)), []);
                assert_eq!(self.handle(Event::Exited(attempt, Exit::Code(0), Usage::default())), []);
            }
            Step::Kill(pick) => {
                let Some(attempt) = self.pick(pick, Process::is_held) else { return };
                self.condemn(|other| *other == attempt);
                self.event(Event::Kill(attempt));
                let process = self.known[&attempt].process;
                assert!(matches!(process, Process::Asked | Process::Killed), "{attempt} is {process:?}");
            }
            Step::Renewed { ago } => self.renew(ago),
            Step::Leave { after } => self.leave(self.now + Duration::from_secs(after)),
            Step::Pass(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.wake();
            }
        }
    }

    fn start(&mut self, slots: u32, timeout: u64, grace: u64) {
        let attempt = JobId(self.known.len() as u64).task(0).attempt(1);
        let known =
            Known { slots, process: Process::Refused, condemned: false, withheld: false, started: false, ended: None };
        self.known.insert(attempt, known);
        let (timeout, kill_grace) = (Duration::from_secs(timeout), Duration::from_secs(grace));
        self.event(Event::Start { attempt, slots, timeout, kill_grace });
        let known = &self.known[&attempt];
        assert!(known.process == Process::Asked || known.ended == Some(End::Refused), "{known:?}");
        assert!(known.process == Process::Refused || self.now < self.lease_end, "{known:?}");
    }

    fn exit(&mut self, attempt: AttemptId, exit: Exit) {
        let touched = self.known[&attempt].process != Process::Alive;
        self.become_of(attempt, Process::Gone { touched });
        self.event(Event::Exited(attempt, exit, Usage { killed: 7, ..Usage::default() }));
    }

    fn condemn(&mut self, which: impl Fn(&AttemptId) -> bool) {
        let held = self.known.iter_mut().filter(|(attempt, known)| known.process.is_held() && which(attempt));
        held.for_each(|(_, known)| known.condemned = true);
    }

    fn renew(&mut self, ago: u64) {
        let sent = Time(self.now.0.saturating_sub(ago * 1000));
        self.lease_end = self.lease_end.max(sent + LEASE);
        self.event(Event::Renewed { sent, lease: LEASE });
    }

    fn leave(&mut self, stop_at: Time) {
        if self.leave != Leave::Over {
            self.leave = Leave::At(stop_at);
        }
        self.event(Event::Leave { stop_at });
    }

    /// Nothing is overdue after a wake, and nothing runs on in a worker whose time has come.
    fn wake(&mut self) {
        if matches!(self.leave, Leave::At(stop_at) if stop_at <= self.now) {
            self.leave = Leave::Over;
        }
        let is_over = self.lease_end <= self.now;
        if is_over {
            self.condemn(|_| true);
        }
        self.event(Event::Wake);
        assert!(self.slots.next_deadline().is_none_or(|due| due > self.now));
        let spared = self.known.values().find(|known| matches!(known.process, Process::Alive | Process::Terminated));
        assert!(!is_over || spared.is_none(), "{spared:?} outlives its lease");
    }

    fn event(&mut self, event: Event) {
        for action in self.handle(event) {
            self.act(action);
        }
        self.check();
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.slots.handle(self.now, event, &mut actions);
        actions
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Spawn(attempt) => {
                assert_ne!(self.leave, Leave::Over, "{attempt} is started in a worker that stops");
                self.turn(attempt, &[Process::Refused], Process::Asked);
            }
            Action::Withhold(attempt) => {
                let known = self.known.get_mut(&attempt).expect("a known attempt");
                assert!(known.process == Process::Asked && !known.withheld, "{known:?}");
                known.withheld = true;
            }
            Action::Terminate(attempt) => self.turn(attempt, &[Process::Alive], Process::Terminated),
            Action::Kill(attempt) if self.known[&attempt].condemned => {
                self.turn(attempt, &[Process::Alive, Process::Terminated], Process::Killed);
            }
            Action::Kill(attempt) => self.turn(attempt, &[Process::Terminated], Process::Killed),
            Action::Report(Report::Started(attempt)) => self.told_start(attempt),
            Action::Report(Report::Ended(attempt, end, usage)) => self.told_end(attempt, end, usage),
            Action::Report(Report::Leaving | Report::Heartbeat { .. }) => panic!("that is for the shell to say"),
        }
    }

    fn turn(&mut self, attempt: AttemptId, from: &[Process], to: Process) {
        let old = self.known[&attempt].process;
        assert!(from.contains(&old), "{attempt} is {old:?} and cannot become {to:?}");
        self.become_of(attempt, to);
    }

    fn told_start(&mut self, attempt: AttemptId) {
        let known = self.known.get_mut(&attempt).expect("a known attempt");
        assert!(known.process == Process::Alive && !known.started, "{known:?}");
        known.started = true;
    }

    /// An end is told once, after the command is gone, and says what the worker itself did first.
    fn told_end(&mut self, attempt: AttemptId, end: End, usage: Option<Usage>) {
        let known = self.known.get_mut(&attempt).expect("a known attempt");
        assert!(known.ended.is_none(), "{known:?}: {end:?}");
        let fits = match &end {
            End::Exited(_) | End::Signaled(_) | End::OutOfMemory => {
                known.process == Process::Gone { touched: false } && known.started
            }
            End::TimedOut | End::WorkerStopped => known.process == Process::Gone { touched: true } && known.started,
            End::Stopped => known.process == Process::Gone { touched: known.started },
            End::CouldNotStart { .. } => known.process == Process::Gone { touched: false } && !known.started,
            End::LeaseEnded => known.process == Process::Gone { touched: true } && known.started && known.condemned,
            End::Refused if known.withheld => known.process == Process::Gone { touched: false } && !known.started,
            End::Refused => known.process == Process::Refused,
            End::Abandoned => false,
        };
        assert_eq!(usage.map(|usage| usage.killed), known.started.then_some(7), "{end:?}");
        assert!(fits, "{known:?}: {end:?}");
        known.ended = Some(end);
    }

    /// Whoever is held waits for the executor, or has a deadline; and all of them fit.
    fn check(&self) {
        let held = self.known.iter().filter(|(_, known)| known.process.is_held());
        let presented = self.slots.held().map(|held| (held.attempt, held.slots, held.started));
        assert!(held.clone().map(|(attempt, known)| (*attempt, known.slots, known.started)).eq(presented));
        assert!(held.clone().map(|(_, known)| known.slots).sum::<u32>() <= TOTAL_SLOTS);
        let runs = held.clone().any(|(_, known)| matches!(known.process, Process::Alive | Process::Terminated));
        assert!(!runs || self.slots.next_deadline().is_some(), "a command runs without a deadline");
        match self.leave {
            Leave::No => {}
            Leave::At(stop_at) => assert!(self.slots.next_deadline().is_some_and(|due| due <= stop_at)),
            Leave::Over => assert!(held.clone().all(|(_, known)| known.process != Process::Alive)),
        }
        let untold =
            self.known.values().find(|known| matches!(known.process, Process::Gone { .. }) && known.ended.is_none());
        assert!(untold.is_none(), "{untold:?} is gone and nobody was told");
    }

    /// Commands that heed nothing but KILL are gone in the end, with no other help than time.
    fn end(&mut self) {
        while let Some(attempt) = self.pick(0, |process| process == Process::Asked) {
            self.become_of(attempt, Process::Alive);
            self.event(Event::Spawned(attempt));
        }
        for _ in 0..=3 * self.known.len() {
            while let Some(attempt) = self.pick(0, |process| process == Process::Killed) {
                self.exit(attempt, Exit::Signal(9));
            }
            let Some(due) = self.slots.next_deadline() else { break };
            self.now = self.now.max(due);
            self.wake();
        }
        assert!(self.slots.is_empty() && self.slots.next_deadline().is_none(), "{:?}", self.slots);
        assert!(self.known.values().all(|known| known.ended.is_some()));
    }

    fn become_of(&mut self, attempt: AttemptId, process: Process) {
        self.known.get_mut(&attempt).expect("a known attempt").process = process;
    }

    fn pick(&self, pick: usize, which: impl Fn(Process) -> bool) -> Option<AttemptId> {
        let of: Vec<_> = self.known.iter().filter(|(_, known)| which(known.process)).collect();
        of.get(pick.checked_rem(of.len())?).map(|(attempt, _)| **attempt)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let exit = prop_oneof![(0i32..3).prop_map(Exit::Code), Just(Exit::Signal(9)), Just(Exit::OutOfMemory)];
    prop_oneof![
        8 => (1u32..6, 1u64..30, 1u64..10)
            .prop_map(|(slots, timeout, grace)| Step::Start { slots, timeout, grace }),
        1 => any::<usize>().prop_map(Step::Repeat),
        4 => any::<usize>().prop_map(Step::Stop),
        8 => any::<usize>().prop_map(Step::Spawned),
        2 => any::<usize>().prop_map(Step::SpawnFailed),
        4 => any::<usize>().prop_map(Step::Withheld),
        5 => (any::<usize>(), exit).prop_map(|(pick, exit)| Step::Exited(pick, exit)),
        1 => any::<usize>().prop_map(Step::Nonsense),
        1 => any::<usize>().prop_map(Step::Kill),
        4 => (0u64..30).prop_map(|ago| Step::Renewed { ago }),
        1 => (0u64..40).prop_map(|after| Step::Leave { after }),
        6 => (0u64..15).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_attempt_is_forgotten_and_every_end_is_told_once(steps in prop::collection::vec(step(), 0..80)) {
        let (slots, known) = (Slots::new(TOTAL_SLOTS), BTreeMap::new());
        let mut run = Run { slots, now: Time(0), known, leave: Leave::No, lease_end: Time(0) };
        run.renew(0);
        for step in steps {
            run.step(step);
        }
        run.end();
    }
}
