//! The owner of the slots: brings orders and the executor's steps to them, and does what they decide.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use sortie_engine::{Action, AttemptId, End, Event, Held, Output, Report, Slots, Time};
use sortie_wire::node::{Downward, StartOrder, Welcome};
use sortie_wire::{pb, trace};
use tracing::{Span, field};

use crate::clock::Clock;
use crate::executor::{Executor, Step};
use crate::outbox::Outbox;
use crate::spawn::SpawnError;

/// How long a worker that leaves and runs nothing any more waits for the master to take up the next thing that it says.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs what the master orders, whether or not there is a session.
#[derive(Debug)]
pub(crate) struct Driver {
    slots: Slots,
    clock: Clock,
    executor: Executor,
    worker: String,
    stop_timeout: Duration,
    mode: Mode,
    /// The lives of the attempts that are held.
    spans: BTreeMap<AttemptId, Span>,
    outbox: Outbox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    Leaving {
        /// Whether there is a session that may have orders under way.
        awaits_drain: bool,
        /// When an attempt last ended here, or its end was last acknowledged.
        progress: Time,
    },
}

/// What goes past the slots, which decide without looking at it.
#[derive(Debug, Default)]
enum Cargo {
    #[default]
    Nothing,
    Order(Box<StartOrder>),
    Output(Output),
}

impl Driver {
    /// A driver for so many slots; `worker` is the name that telemetry shows.
    pub(crate) fn new(slots: u32, executor: Executor, outbox: Outbox, worker: &str, stop_timeout: Duration) -> Self {
        Driver {
            slots: Slots::new(slots),
            clock: Clock::new(),
            executor,
            worker: worker.to_owned(),
            stop_timeout,
            mode: Mode::Serving,
            spans: BTreeMap::new(),
            outbox,
        }
    }

    /// The clock that everything here goes by.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits for one thing to happen to what runs and deals with it. Nothing is lost if it is dropped.
    pub(crate) async fn step(&mut self) {
        let wake = self.clock.sleep_until(self.slots.next_deadline());
        let patience = self.clock.sleep_until(self.patience());
        tokio::select! {
            Some((attempt, step)) = self.executor.next() => self.on_step(attempt, step),
            () = wake => self.act(Event::Wake, Cargo::Nothing),
            // What follows from it, `has_left` says.
            () = patience => {}
        }
    }

    /// All that this worker holds, or whose end it may have to tell again, as it stands now.
    pub(crate) fn present(&mut self) -> Vec<Held> {
        self.slots.held().chain(self.outbox.present()).collect()
    }

    /// The master has heard what was sent then, and has judged what was presented.
    ///
    /// Of what it does not want, an end is forgotten only if it was presented as one: of anything else, the master
    /// keeps the room until it is told that it is gone.
    pub(crate) fn on_welcome(&mut self, sent: Time, welcome: &Welcome, presented: &[Held]) {
        self.on_renewed(sent, welcome.lease);
        for held in presented.iter().filter(|held| held.slots == 0 && welcome.kill.contains(&held.attempt)) {
            self.outbox.forget(held.attempt);
        }
        for attempt in &welcome.kill {
            if self.slots.holds(*attempt) {
                tracing::warn!(%attempt, "killing an attempt: the master has given it up");
                self.act(Event::Kill(*attempt), Cargo::Nothing);
            }
        }
    }

    /// A session is open: there is somebody to tell again.
    pub(crate) fn on_open(&mut self) {
        self.outbox.open();
        if let Mode::Leaving { awaits_drain, .. } = &mut self.mode {
            *awaits_drain = true;
            self.outbox.push(Report::Leaving, Output::default());
        }
    }

    /// The session is lost, and whatever was under way in it.
    pub(crate) fn on_lost(&mut self) {
        self.drained();
    }

    /// The master has heard what was sent then.
    pub(crate) fn on_renewed(&mut self, sent: Time, lease: Duration) {
        self.act(Event::Renewed { sent, lease }, Cargo::Nothing);
    }

    /// The master orders something.
    pub(crate) fn on_order(&mut self, order: Downward) {
        match order {
            // A repeat that crossed with the end of what it starts.
            Downward::Start(order) if self.outbox.keeps(order.attempt) => {}
            Downward::Start(order) => {
                let StartOrder { attempt, slots, timeout, kill_grace, .. } = *order;
                self.act(Event::Start { attempt, slots, timeout, kill_grace }, Cargo::Order(order));
            }
            Downward::Stop(attempt) => self.act(Event::Stop(attempt), Cargo::Nothing),
            Downward::Drain => self.drained(),
            Downward::Acknowledge(attempt) => {
                self.outbox.forget(attempt);
                self.progress();
            }
            // The session knows for how long.
            Downward::Renew { .. } => {}
        }
    }

    /// Whether there is something to say in this session.
    pub(crate) fn has_reports(&self) -> bool {
        !self.outbox.is_silent()
    }

    /// The next thing to say in this session.
    pub(crate) fn next_report(&mut self) -> Option<pb::Report> {
        self.outbox.pop()
    }

    /// Begins to bring everything to its end. Without a master that could be told, commands are given no time.
    pub(crate) fn leave(&mut self, connected: bool) {
        tracing::info!(running = self.spans.len(), connected, "leaving the master");
        let now = self.clock.now();
        self.mode = Mode::Leaving { awaits_drain: connected, progress: now };
        if connected {
            self.outbox.push(Report::Leaving, Output::default());
        }
        let stop_at = if connected { now + self.stop_timeout } else { now };
        self.act(Event::Leave { stop_at }, Cargo::Nothing);
    }

    /// Whether this worker is leaving, runs nothing any more, and has told everything, or cannot.
    pub(crate) fn has_left(&self) -> bool {
        match self.mode {
            Mode::Serving => false,
            Mode::Leaving { awaits_drain, .. } => {
                let told = self.outbox.is_empty() && !awaits_drain;
                self.slots.is_empty() && (told || self.patience().is_some_and(|end| end <= self.clock.now()))
            }
        }
    }

    /// Until when a worker that leaves waits for the master; as long as something runs, it waits for that.
    fn patience(&self) -> Option<Time> {
        match self.mode {
            Mode::Leaving { progress, .. } if self.slots.is_empty() => Some(progress + LEAVE_TIMEOUT),
            Mode::Leaving { .. } | Mode::Serving => None,
        }
    }

    fn drained(&mut self) {
        if let Mode::Leaving { awaits_drain, .. } = &mut self.mode {
            *awaits_drain = false;
        }
    }

    fn progress(&mut self) {
        let now = self.clock.now();
        if let Mode::Leaving { progress, .. } = &mut self.mode {
            *progress = now;
        }
    }

    fn on_step(&mut self, attempt: AttemptId, step: Step) {
        match step {
            Step::Spawned => self.act(Event::Spawned(attempt), Cargo::Nothing),
            Step::Withheld => self.act(Event::Withheld(attempt), Cargo::Nothing),
            Step::Failed(error) => {
                let event = Event::SpawnFailed { attempt, errno: error.errno, detail: error.detail };
                self.act(event, Cargo::Nothing);
            }
            Step::Ended(exit, usage, output) => self.act(Event::Exited(attempt, exit, usage), Cargo::Output(output)),
        }
    }

    fn act(&mut self, event: Event, mut cargo: Cargo) {
        let mut actions = Vec::new();
        self.slots.handle(self.clock.now(), event, &mut actions);
        for action in actions {
            self.perform(action, &mut cargo);
        }
    }

    fn perform(&mut self, action: Action, cargo: &mut Cargo) {
        match action {
            Action::Spawn(_) => match std::mem::take(cargo) {
                Cargo::Order(order) => self.spawn(*order),
                Cargo::Nothing | Cargo::Output(_) => {}
            },
            Action::Withhold(attempt) => self.executor.withhold(attempt),
            Action::Terminate(attempt) => self.executor.signal(attempt, Signal::TERM),
            Action::Kill(attempt) => self.executor.signal(attempt, Signal::KILL),
            Action::Report(report) => self.report(report, cargo),
        }
    }

    /// Nothing is started that a later process would not know of.
    fn spawn(&mut self, order: StartOrder) {
        if let Err(error) = self.outbox.begin(order.attempt) {
            let failed = SpawnError::new(&error, format!("the worker's journal cannot be written: {error}"));
            return self.on_step(order.attempt, Step::Failed(failed));
        }
        let AttemptId { task, number } = order.attempt;
        let outcome = field::Empty;
        let span = tracing::info_span!("attempt", task.id = %task, attempt = number, worker = self.worker, outcome);
        if let Some(traceparent) = &order.traceparent {
            trace::set_parent(&span, traceparent);
        }
        self.spans.insert(order.attempt, span.clone());
        self.executor.start(order, span);
    }

    fn report(&mut self, report: Report, cargo: &mut Cargo) {
        tracing::debug!(?report, "reporting");
        let output = match (&report, std::mem::take(cargo)) {
            (Report::Ended(..), Cargo::Output(output)) => output,
            (Report::Started(_) | Report::Ended(..) | Report::Leaving | Report::Heartbeat { .. }, _) => {
                Output::default()
            }
        };
        if let Report::Ended(attempt, end, _) = &report {
            self.progress();
            if let Some(span) = self.spans.remove(attempt) {
                span.record("outcome", outcome(end));
            }
        }
        self.outbox.push(report, output);
    }
}

/// How telemetry calls an end.
fn outcome(end: &End) -> &'static str {
    match end {
        End::Exited(0) => "succeeded",
        End::Exited(_) => "exited",
        End::Signaled(_) => "signaled",
        End::CouldNotStart { .. } => "could_not_start",
        End::TimedOut => "timed_out",
        End::Stopped => "stopped",
        End::WorkerStopped => "worker_stopped",
        End::LeaseEnded => "lease_ended",
        End::OutOfMemory => "out_of_memory",
        End::Abandoned => "abandoned",
        End::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use sortie_engine::{Command, JobId};
    use sortie_wire::node::{Upward, upward_from_pb};

    use crate::Cgroups;
    use crate::children::Children;
    use crate::journal::Journal;
    use crate::memory::Memory;
    use crate::spawn::Site;
    use crate::usage::Meter;

    use super::*;

    async fn driver(dir: &std::path::Path, journal: Journal) -> Driver {
        let (workspace, _lock) = crate::workspace::open(dir).await.expect("a workspace");
        workspace.clear().expect("a directory");
        let site = Site {
            cgroups: crate::cgroups(Cgroups::Off, &workspace),
            workspace,
            worker: "alpha".to_owned(),
            children: Children::new(false),
            memory: Memory::own(),
            meter: Meter::default(),
        };
        let outbox = Outbox::new(journal, std::collections::BTreeMap::new());
        Driver::new(1, Executor::new(site), outbox, "alpha", Duration::ZERO)
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_not_started_and_is_told_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut driver = driver(dir.path(), Journal::full(dir.path())).await;
        driver.on_renewed(driver.clock().now(), Duration::from_secs(60));
        let fact = dir.path().join("fact");
        let attempt = JobId(42).task(17).attempt(2);
        driver.on_order(Downward::Start(Box::new(StartOrder {
            attempt,
            command: Command::Line(format!("echo > {}", fact.display())),
            env: BTreeMap::new(),
            cwd: None,
            stdin: None,
            timeout: Duration::from_secs(60),
            kill_grace: Duration::ZERO,
            slots: 1,
            traceparent: None,
        })));
        let report = upward_from_pb(driver.next_report().expect("a report"));
        let Ok(Upward::Report(Report::Ended(ended, End::CouldNotStart { errno, detail }, None), _)) = report else {
            panic!("{report:?}")
        };
        assert_eq!((ended, errno), (attempt, rustix::io::Errno::NOSPC.raw_os_error()));
        assert!(detail.starts_with("the worker's journal cannot be written: "), "{detail}");
        assert!(driver.slots.is_empty() && driver.spans.is_empty() && !fact.exists());
        let presented = driver.present();
        assert_eq!(presented, [Held { attempt, slots: 0, started: false }]);
    }
}
