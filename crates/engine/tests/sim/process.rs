//! What runs: commands with what they start, the executor that starts and stops them, and what becomes of them.

use std::time::Duration;

use sortie_engine::{Action, AttemptId, Event, Exit, Report, Usage};

use crate::faults::KILL_MS;
use crate::rng::Rng;
use crate::world::{Happens, World};

/// How long before a command begins its executor can still hold it.
const START_MS: u64 = 5;

/// A command that was started, and all that it started.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) machine: usize,
    /// Which of the machine's processes started it.
    pub(crate) life: u64,
    pub(crate) began: u64,
    /// How the command itself ended.
    pub(crate) exit: Option<Exit>,
    /// Since when nothing of it does anything any more.
    pub(crate) stopped: Option<u64>,
    /// Since when all of it is gone; what hangs in the kernel goes some time after its KILL.
    pub(crate) gone: Option<u64>,
    /// Whether its worker has stopped it.
    pub(crate) touched: bool,
    nature: Nature,
}

/// What a command is like.
#[derive(Clone, Copy, Debug)]
struct Nature {
    ignores_term: bool,
    /// It leaves something behind that does not end by itself.
    has_daemon: bool,
    /// How long it hangs in the kernel after a KILL.
    hangs_ms: u64,
}

impl Process {
    /// Its machine is gone.
    pub(crate) fn vanish(&mut self, now: u64) {
        self.exit.get_or_insert(Exit::Signal(9));
        self.stopped.get_or_insert(now);
        self.gone.get_or_insert(now);
    }
}

impl Nature {
    fn new(is_sick: bool, rng: &mut Rng) -> Self {
        let hangs_ms = if is_sick && rng.chance(400) { rng.range(500, 90_000) } else { 0 };
        Nature { ignores_term: rng.chance(300), has_daemon: rng.chance(100), hangs_ms }
    }
}

impl World {
    /// Brings one event to a worker's slots, and does what they say.
    pub(crate) fn slots(&mut self, index: usize, event: Event) {
        let machine = &mut self.machines[index];
        let Some(agent) = &mut machine.agent else { return };
        let mut actions = Vec::new();
        agent.slots.handle(machine.clock.at(self.now), event, &mut actions);
        let life = agent.life;
        for action in actions {
            if self.agent(index, life).is_some() {
                self.act(index, action);
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        self.trace(|| format!("{}: {}", self.called(index), crate::words::action(&action, self.machines[index].clock)));
        match action {
            Action::Spawn(attempt) => self.spawn(attempt, index),
            Action::Withhold(attempt) => self.withhold(attempt, index),
            Action::Terminate(attempt) => self.send_signal(attempt, 15),
            Action::Kill(attempt) => self.send_signal(attempt, 9),
            Action::Report(report) => self.write_down(index, report),
        }
    }

    /// What has happened goes to the journal before it goes to the master; a worker may die before either.
    fn write_down(&mut self, index: usize, report: Report) {
        if self.crashes(index) {
            return;
        }
        let journal = &mut self.machines[index].journal;
        match &report {
            Report::Started(attempt) => journal.started(*attempt),
            Report::Ended(attempt, end, usage) => journal.end(*attempt, end.clone(), *usage),
            Report::Leaving | Report::Heartbeat { .. } => {}
        }
        if !self.crashes(index) {
            self.report(index, report);
        }
    }

    fn is_sick(&self, index: usize) -> bool {
        self.is_rough() && self.machines[index].is_sick
    }

    /// The executor is asked to start a command, and gets to it some time.
    fn spawn(&mut self, attempt: AttemptId, index: usize) {
        let after = if self.is_sick(index) { self.rng.mostly(20, 150, 45_000) } else { self.rng.range(0, 20) };
        let at = self.now + after;
        let machine = &mut self.machines[index];
        machine.journal.begin(attempt);
        let Some(agent) = &mut machine.agent else { return };
        agent.starting.insert(attempt, at);
        let life = agent.life;
        self.at(at, Happens::Begin(attempt, index, life));
    }

    /// The executor does not start a command after all, unless it is at it.
    fn withhold(&mut self, attempt: AttemptId, index: usize) {
        let now = self.now;
        let Some(agent) = &mut self.machines[index].agent else { return };
        let life = agent.life;
        let Some(at) = agent.starting.remove(&attempt) else { return };
        if at <= now + START_MS {
            agent.starting.insert(attempt, at);
            return;
        }
        self.saw("a start is withheld");
        // Whoever hangs in it says so late.
        let at = if self.rng.chance(500) { now } else { at };
        self.at(at, Happens::Withheld(attempt, index, life));
    }

    /// The executor says that it has not started a command.
    pub(crate) fn withheld(&mut self, attempt: AttemptId, index: usize, life: u64) {
        if self.agent(index, life).is_some() {
            self.slots(index, Event::Withheld(attempt));
        }
    }

    /// The executor starts a process, or cannot.
    pub(crate) fn begin(&mut self, attempt: AttemptId, index: usize, life: u64) {
        let Some(agent) = self.agent(index, life) else { return };
        if agent.starting.remove(&attempt).is_none() {
            return;
        }
        if self.rng.chance(50) {
            self.trace(|| format!("{}: {attempt} cannot be started", self.called(index)));
            self.unstartable.insert(attempt);
            return self.slots(index, Event::SpawnFailed { attempt, errno: 2, detail: "no such file".into() });
        }
        self.trace(|| format!("{}: {attempt} begins", self.called(index)));
        self.check_begin(attempt, index);
        let nature = Nature::new(self.is_sick(index), &mut self.rng);
        let process = Process {
            machine: index,
            life,
            began: self.now,
            exit: None,
            stopped: None,
            gone: None,
            touched: false,
            nature,
        };
        self.processes.insert(attempt, process);
        let after = self.rng.mostly(15_000, 150, 100_000);
        let exit = self.plan();
        self.after(after, Happens::Exit(attempt, exit));
        self.slots(index, Event::Spawned(attempt));
    }

    /// How a command is going to end by itself.
    fn plan(&mut self) -> Exit {
        match self.rng.range(0, 20) {
            0..11 => Exit::Code(0),
            11..15 => Exit::Code(1),
            15..18 => Exit::Code(2),
            18 => Exit::Signal(11),
            _ => Exit::OutOfMemory,
        }
    }

    fn send_signal(&mut self, attempt: AttemptId, signal: i32) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        process.touched = true;
        let after = self.rng.range(0, if signal == 9 { KILL_MS } else { 500 });
        self.after(after, Happens::Signal(attempt, signal));
    }

    /// A signal arrives.
    pub(crate) fn signal(&mut self, attempt: AttemptId, signal: i32) {
        let Some(process) = self.processes.get_mut(&attempt).filter(|process| process.stopped.is_none()) else {
            return;
        };
        match (signal, process.nature.ignores_term) {
            (9, _) => {
                process.exit.get_or_insert(Exit::Signal(9));
                process.stopped = Some(self.now);
                let after = process.nature.hangs_ms;
                self.trace(|| format!("process {attempt} is killed"));
                self.after(after, Happens::Gone(attempt));
            }
            (_, true) => {}
            (_, false) => self.exit(attempt, Exit::Signal(signal)),
        }
    }

    /// A command ends. What it leaves behind is killed at once, or, if it was asked to end, when its grace is over.
    pub(crate) fn exit(&mut self, attempt: AttemptId, exit: Exit) {
        let Some(process) = self.processes.get_mut(&attempt).filter(|process| process.exit.is_none()) else { return };
        process.exit = Some(exit);
        let (index, life) = (process.machine, process.life);
        if process.nature.has_daemon {
            self.trace(|| format!("process {attempt} ends ({}) and leaves a daemon", crate::words::exit(exit)));
            return self.after(0, Happens::Left(attempt, index, life));
        }
        process.stopped = Some(self.now);
        self.trace(|| format!("process {attempt} ends ({})", crate::words::exit(exit)));
        self.gone(attempt);
    }

    /// The executor sees that a command has ended and something of it has not.
    pub(crate) fn left(&mut self, attempt: AttemptId, index: usize, life: u64) {
        let is_spared = self.processes.get(&attempt).is_none_or(|process| process.touched);
        if !is_spared && self.agent(index, life).is_some() {
            let after = self.rng.range(0, 200);
            self.after(after, Happens::Signal(attempt, 9));
        }
    }

    /// The last process is gone.
    pub(crate) fn gone(&mut self, attempt: AttemptId) {
        let Some(process) = self.processes.get_mut(&attempt).filter(|process| process.gone.is_none()) else { return };
        process.gone = Some(self.now);
        let (index, life) = (process.machine, process.life);
        self.after(0, Happens::Reaped(attempt, index, life));
    }

    /// The executor sees that the last process is gone.
    pub(crate) fn reaped(&mut self, attempt: AttemptId, index: usize, life: u64) {
        let Some(process) = self.processes.get(&attempt) else { return };
        let (Some(exit), usage) = (process.exit, usage_of(process)) else { return };
        if self.agent(index, life).is_some() {
            self.slots(index, Event::Exited(attempt, exit, usage));
        }
    }
}

/// What a process used: something by which it can be known again.
pub(crate) fn usage_of(process: &Process) -> Usage {
    Usage { cpu: Duration::from_millis(process.began), max_rss: process.life, killed: process.machine as u32 }
}
