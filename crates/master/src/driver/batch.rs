//! One batch: what has been sent to the driver by now, and what it leads to.

use sortie_engine::{AttemptId, Effects, Explanation, JobId, Output, RequestId, TaskId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::handle::{Message, Reply};

/// The most messages that are made durable together.
const MAX_BATCH: usize = 2048;

/// The output that is made durable together, in bytes; the last attempt's may go over it.
const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// What one batch leads to, beside the scheduler's effects.
#[derive(Default)]
pub(super) struct Round {
    pub(super) effects: Effects,
    pub(super) replies: Vec<Reply>,
    pub(super) outputs: Vec<(AttemptId, Output)>,
    pub(super) questions: Vec<Question>,
}

/// What is answered with what is so after the batch: whoever is told that something has ended finds that in the store.
pub(super) enum Question {
    Explain(TaskId, oneshot::Sender<Option<Explanation>>),
    Watch(JobId, oneshot::Sender<watch::Receiver<()>>),
    Measure(oneshot::Sender<()>),
}

impl Round {
    pub(super) fn request(&mut self, reply: Reply) -> RequestId {
        self.replies.push(reply);
        RequestId(self.replies.len() - 1)
    }
}

/// Takes what has been sent after `first`, up to what one transaction shall hold.
pub(super) fn gather(first: Option<Message>, messages: &mut mpsc::Receiver<Message>) -> Vec<Message> {
    let mut output_bytes = first.as_ref().map_or(0, output_bytes_of);
    let mut batch: Vec<Message> = first.into_iter().collect();
    while batch.len() < MAX_BATCH && output_bytes <= MAX_OUTPUT_BYTES {
        let Ok(message) = messages.try_recv() else { break };
        output_bytes += output_bytes_of(&message);
        batch.push(message);
    }
    batch
}

/// The keys under which something is submitted in a batch.
pub(super) fn keys(batch: &[Message]) -> Vec<String> {
    let keys = batch.iter().filter_map(|message| match message {
        Message::Ask(ask, _) => ask.key(),
        Message::Connect { .. }
        | Message::Report { .. }
        | Message::Disconnect { .. }
        | Message::Explain { .. }
        | Message::Watch { .. }
        | Message::Measure { .. } => None,
    });
    keys.map(str::to_owned).collect()
}

fn output_bytes_of(message: &Message) -> usize {
    match message {
        Message::Report { output: Some(output), .. } => output.stdout.bytes.len() + output.stderr.bytes.len(),
        Message::Report { output: None, .. }
        | Message::Ask(..)
        | Message::Connect { .. }
        | Message::Disconnect { .. }
        | Message::Explain { .. }
        | Message::Watch { .. }
        | Message::Measure { .. } => 0,
    }
}
