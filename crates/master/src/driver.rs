//! The driver: the one task that owns the scheduler and the store's write side.
//!
//! It takes what has happened in batches. For each batch it asks the scheduler what is to be done, makes the records
//! durable in one transaction, and then, and only then, sends orders, answers and wake-ups.

mod batch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sortie_engine::{Answer, CloseReason, Input, Job, JobId, Order, RequestId, Scheduler, SessionId, Time};
use sortie_store::{Batch, CommitError, Writer};
use sortie_wire::node;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::clock::Clock;
use crate::handle::{Message, Orders};
use crate::metrics::{Counts, Metrics};
use crate::spans::Spans;
use crate::watchers::{Change, Watchers};
use batch::{Question, Round};

/// For how long after its deadline a task still counts as in time: the driver may be at another batch just then.
const DEADLINE_TOLERANCE_MS: u64 = 1000;

/// The jobs that the keys of a batch stand for on disk.
type Known = BTreeMap<String, Arc<Job>>;

/// The state that only the driver touches.
#[derive(Debug)]
pub(crate) struct Driver {
    clock: Clock,
    scheduler: Scheduler,
    writer: Writer,
    metrics: Metrics,
    sessions: HashMap<SessionId, Orders>,
    /// Sessions whose streams took no more orders; the scheduler hears of it in the next round.
    cut: Vec<SessionId>,
    watchers: Watchers,
    spans: Spans,
}

impl Driver {
    pub(crate) fn new(clock: Clock, scheduler: Scheduler, writer: Writer, metrics: Metrics) -> Self {
        Driver {
            clock,
            scheduler,
            writer,
            metrics,
            sessions: HashMap::new(),
            cut: Vec::new(),
            watchers: Watchers::default(),
            spans: Spans::default(),
        }
    }

    /// Runs until `stop`, then finishes what has been sent to it, ends all sessions and closes the store.
    ///
    /// # Errors
    /// When the store cannot be read or cannot commit: then nobody is told of the batch, and the master must end.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        stop: CancellationToken,
    ) -> Result<(), CommitError> {
        let mut open = true;
        loop {
            let deadline = self.scheduler.next_deadline().map(|time| self.clock.instant(time));
            let first = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => Some(message),
                    None => break,
                },
                () = std::future::ready(()), if !self.cut.is_empty() => None,
                () = sleep_until(deadline) => None,
                () = stop.cancelled(), if open => {
                    // What was sent before is still received and answered; what comes later is refused.
                    messages.close();
                    open = false;
                    continue;
                }
            };
            let batch = batch::gather(first, &mut messages);
            // Once for the whole batch. Nobody else writes, and every earlier batch is on disk: what is found is all.
            let known = self.writer.known(batch::keys(&batch), self.clock.now()).await?;
            let mut round = Round::default();
            // What is due comes before what has just arrived, however late the driver wakes.
            self.scheduler.handle(self.clock.now(), Input::Wake, &mut round.effects);
            for session in std::mem::take(&mut self.cut) {
                self.scheduler.handle(self.clock.now(), Input::Disconnect { session }, &mut round.effects);
            }
            for message in batch {
                self.take(message, &known, &mut round);
            }
            self.finish(round).await?;
        }
        for (_, orders) in self.sessions.drain() {
            _ = orders.try_send(Err(Status::unavailable("the master is stopping; it will be back")));
        }
        self.writer.close().await
    }

    /// Lets the scheduler decide about one message.
    fn take(&mut self, message: Message, known: &Known, round: &mut Round) {
        let now = self.clock.now();
        let input = match message {
            Message::Ask(ask, reply) => {
                let known = ask.key().and_then(|key| known.get(key).cloned());
                ask.into_input(round.request(reply), known)
            }
            Message::Connect { session, orders, reply } => {
                let request = round.request(reply);
                self.scheduler.handle(now, Input::Connect { request, session }, &mut round.effects);
                // A second stream for a session must not take the first one's place.
                if round.effects.answers.last() == Some(&(request, Answer::Done)) {
                    self.sessions.insert(session, orders);
                }
                return;
            }
            Message::Report { session, report, output } => {
                if let (sortie_engine::Report::Ended(attempt, ..), Some(output)) = (&report, output) {
                    // What a stale attempt wrote must not replace what the live one writes.
                    if self.scheduler.holds(session, *attempt) {
                        round.outputs.push((*attempt, output));
                    }
                }
                Input::Report { session, report }
            }
            Message::Disconnect { session } => {
                self.sessions.remove(&session);
                Input::Disconnect { session }
            }
            Message::Explain { task, reply } => {
                round.questions.push(Question::Explain(task, reply));
                return;
            }
            Message::Watch { job, reply } => {
                round.questions.push(Question::Watch(job, reply));
                return;
            }
            Message::Measure { reply } => {
                round.questions.push(Question::Measure(reply));
                return;
            }
        };
        self.scheduler.handle(now, input, &mut round.effects);
    }

    fn answer(&mut self, question: Question) {
        // A client that has gone away does not need its answer.
        match question {
            Question::Explain(task, reply) => _ = reply.send(self.scheduler.explain(task)),
            Question::Watch(job, reply) => _ = reply.send(self.watch(job)),
            Question::Measure(reply) => {
                let in_time = Time(self.clock.now().0.saturating_sub(DEADLINE_TOLERANCE_MS));
                self.metrics.set_past_deadline(self.scheduler.overdue(in_time));
                _ = reply.send(());
            }
        }
    }

    /// A job that has ended, in this very batch perhaps, gets a closed receiver: who has it reads the store.
    fn watch(&mut self, job: JobId) -> watch::Receiver<()> {
        match self.scheduler.is_live(job) {
            true => self.watchers.subscribe(job),
            false => watch::Sender::new(()).subscribe(),
        }
    }

    /// Makes a batch durable, then tells everyone.
    async fn finish(&mut self, round: Round) -> Result<(), CommitError> {
        let Round { effects, replies, outputs, questions } = round;
        let counts = Counts::of(&effects);
        let changes: Vec<Change> = effects.records.iter().filter_map(Change::of).collect();
        let spans: Vec<_> = effects.records.iter().filter_map(|record| self.spans.of(record)).collect();
        if !effects.records.is_empty() {
            self.writer.commit(Batch { records: effects.records, outputs }).await?;
        }
        self.metrics.count(&counts);
        for (session, order) in effects.orders {
            self.send(session, order);
        }
        let mut replies: Vec<_> = replies.into_iter().map(Some).collect();
        for (RequestId(request), answer) in effects.answers {
            let reply = replies.get_mut(request).and_then(Option::take);
            // A client that has gone away does not need its answer.
            _ = reply.map(|reply| reply.send(answer));
        }
        for change in changes {
            self.watchers.wake(change);
        }
        for question in questions {
            self.answer(question);
        }
        for span in spans {
            self.spans.end(span);
        }
        if effects.stale_reports > 0 {
            tracing::warn!(count = effects.stale_reports, "reports that did not fit were passed over");
        }
        Ok(())
    }

    /// Sends an order down a session's stream. A stream that does not take it is ended: its worker comes back anew.
    fn send(&mut self, session: SessionId, order: Order) {
        let Some(orders) = self.sessions.get(&session) else { return };
        let message = match &order {
            Order::Close(reason) => Err(Status::aborted(close_detail(*reason))),
            Order::Start(attempt, job) => {
                let traceparent = self.spans.start(*attempt, job, self.clock.now());
                Ok(node::order_to_pb(&order, traceparent.as_deref()))
            }
            Order::Stop(_) | Order::Drain | Order::Renew { .. } | Order::Acknowledge(_) => {
                Ok(node::order_to_pb(&order, None))
            }
        };
        let closing = message.is_err();
        let Some(message) = message.transpose() else { return };
        let refused = orders.try_send(message).is_err();
        if refused || closing {
            self.sessions.remove(&session);
        }
        if refused {
            self.cut.push(session);
        }
    }
}

fn close_detail(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Superseded => "this worker has come back on another connection",
        CloseReason::Silent => "the worker was not heard of for its whole lease",
        CloseReason::Late => "the stream was not opened in time; report the status again",
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
