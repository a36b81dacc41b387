//! The owner of the slots: brings orders and the executor's steps to them, and does what they decide.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use sortie_engine::{Action, AttemptId, End, Event, Output, Report, Slots, Time};
use sortie_wire::node::{Downward, StartOrder, downward_from_pb, report_to_pb};
use sortie_wire::{pb, trace};
use tokio::sync::mpsc::Permit;
use tokio::sync::mpsc::error::SendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Span, field};

use crate::executor::{Executor, Step};
use crate::link::Session;

/// How many reports may wait before no more orders are read.
const MAX_OUTBOX: usize = 64;

/// How long the master has to answer that it has nothing more for a worker that leaves.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the master has to end its side of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs what the master orders, in one session after another.
#[derive(Debug)]
pub(crate) struct Driver {
    slots: Slots,
    clock: Clock,
    executor: Executor,
    worker: String,
    stop_timeout: Duration,
    /// The lives of the attempts that are held.
    spans: BTreeMap<AttemptId, Span>,
    /// Reports that the session has not taken yet: at most `MAX_OUTBOX` and those of the attempts that are held.
    outbox: VecDeque<pb::Report>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It was lost, and why; nothing runs any more.
    Lost(String),
    /// The worker was stopped; all has been told, or cannot be.
    Stopped,
}

/// Why a session ended before this worker wanted it to.
type Lost = String;

/// What one turn has brought, as far as it matters outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Drained,
    Other,
}

/// What goes past the slots, which decide without looking at it.
#[derive(Debug, Default)]
enum Cargo {
    #[default]
    Nothing,
    Order(Box<StartOrder>),
    Output(Output),
}

/// The monotonic clock, shown as wall-clock time by its offset at the start.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
    epoch: Time,
}

impl Driver {
    /// A driver for so many slots; `worker` is the name that telemetry shows.
    pub(crate) fn new(slots: u32, executor: Executor, worker: &str, stop_timeout: Duration) -> Self {
        Driver {
            slots: Slots::new(slots),
            clock: Clock::new(),
            executor,
            worker: worker.to_owned(),
            stop_timeout,
            spans: BTreeMap::new(),
            outbox: VecDeque::new(),
        }
    }

    /// Takes orders until the session is lost or `stop` is cancelled. Nothing runs when it returns.
    pub(crate) async fn serve(&mut self, mut session: Session, stop: &CancellationToken) -> Over {
        let lost = loop {
            tokio::select! {
                turn = self.turn(&mut session) => if let Err(lost) = turn { break lost },
                () = stop.cancelled() => match self.leave(session).await {
                    Ok(()) => return Over::Stopped,
                    Err(lost) => break lost,
                },
            }
        };
        self.abandon().await;
        Over::Lost(lost)
    }

    /// Brings everything to its end and tells the master all of it.
    async fn leave(&mut self, mut session: Session) -> Result<(), Lost> {
        tracing::info!(running = self.spans.len(), "leaving the master");
        self.outbox.push_back(report_to_pb(Report::Leaving, Output::default()));
        let stop_at = self.clock.now() + self.stop_timeout;
        self.act(Event::Leave { stop_at }, Cargo::Nothing);
        let mut drained = false;
        while !(drained && self.is_idle()) {
            let patience = if self.is_idle() { DRAIN_TIMEOUT } else { Duration::MAX };
            match tokio::time::timeout(patience, self.turn(&mut session)).await {
                Ok(turn) => drained |= turn? == Turn::Drained,
                Err(_) => break,
            }
        }
        close(session, drained).await;
        Ok(())
    }

    /// Nobody may be told any more: kills everything and waits until it is gone.
    async fn abandon(&mut self) {
        self.act(Event::SessionEnded, Cargo::Nothing);
        while let Some((attempt, step)) = self.executor.next().await {
            self.on_step(attempt, step);
        }
        self.outbox.clear();
        for span in std::mem::take(&mut self.spans).into_values() {
            span.record("outcome", "session_ended");
        }
    }

    /// Waits for one thing to happen and deals with it. Nothing is lost if it is dropped.
    async fn turn(&mut self, session: &mut Session) -> Result<Turn, Lost> {
        let wake = self.clock.sleep_until(self.slots.next_deadline());
        tokio::select! {
            order = session.orders.message(), if self.outbox.len() < MAX_OUTBOX => return self.on_order(order),
            Some((attempt, step)) = self.executor.next() => self.on_step(attempt, step),
            permit = session.reports.reserve(), if !self.outbox.is_empty() => self.send(permit)?,
            () = wake => self.act(Event::Wake, Cargo::Nothing),
        }
        Ok(Turn::Other)
    }

    fn send(&mut self, permit: Result<Permit<'_, pb::Report>, SendError<()>>) -> Result<(), Lost> {
        let permit = permit.map_err(|_| "the stream was closed".to_owned())?;
        if let Some(report) = self.outbox.pop_front() {
            permit.send(report);
        }
        Ok(())
    }

    fn on_order(&mut self, order: Result<Option<pb::Order>, Status>) -> Result<Turn, Lost> {
        let order = order.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
        let order = order.ok_or_else(|| "the master ended the stream".to_owned())?;
        match downward_from_pb(order) {
            Ok(Downward::Start(order)) => {
                let StartOrder { attempt, slots, timeout, kill_grace, .. } = *order;
                self.act(Event::Start { attempt, slots, timeout, kill_grace }, Cargo::Order(order));
            }
            Ok(Downward::Stop(attempt)) => self.act(Event::Stop(attempt), Cargo::Nothing),
            Ok(Downward::Drain) => return Ok(Turn::Drained),
            Err(malformed) => tracing::warn!(%malformed, "passed over an order"),
        }
        Ok(Turn::Other)
    }

    fn on_step(&mut self, attempt: AttemptId, step: Step) {
        match step {
            Step::Spawned => self.act(Event::Spawned(attempt), Cargo::Nothing),
            Step::Failed(error) => {
                let event = Event::SpawnFailed { attempt, errno: error.errno, detail: error.detail };
                self.act(event, Cargo::Nothing);
            }
            Step::Ended(exit, output) => self.act(Event::Exited(attempt, exit), Cargo::Output(output)),
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
            Action::Terminate(attempt) => self.executor.signal(attempt, Signal::TERM),
            Action::Kill(attempt) => self.executor.signal(attempt, Signal::KILL),
            Action::Report(report) => self.report(report, cargo),
        }
    }

    fn spawn(&mut self, order: StartOrder) {
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
            (Report::Started(_) | Report::Ended(..) | Report::Leaving, _) => Output::default(),
        };
        if let Report::Ended(attempt, end) = &report
            && let Some(span) = self.spans.remove(attempt)
        {
            span.record("outcome", outcome(end));
        }
        self.outbox.push_back(report_to_pb(report, output));
    }

    /// Whether nothing is held and nothing is left to say.
    fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.outbox.is_empty()
    }
}

impl Clock {
    fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), epoch: Time::default() + epoch }
    }

    fn now(self) -> Time {
        self.epoch + self.start.elapsed()
    }

    /// Sleeps for ever if there is no such time, or none that the clock will ever show.
    async fn sleep_until(self, time: Option<Time>) {
        match time.and_then(|time| self.start.checked_add(time.since(self.epoch))) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

/// Ends the stream: the reports are sent before its end, and the master's end says that it has read them.
async fn close(session: Session, drained: bool) {
    let Session { reports, mut orders, .. } = session;
    drop(reports);
    let ended = async { while let Ok(Some(_)) = orders.message().await {} };
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, ended).await.is_ok();
    tracing::info!(drained, closed, "left the master");
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
        End::Refused => "refused",
    }
}
