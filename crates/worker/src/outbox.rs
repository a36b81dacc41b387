//! What the master has not been told yet, or may have to be told again.

use std::collections::{BTreeMap, VecDeque};

use sortie_engine::{AttemptId, End, Held, Output, Report};
use sortie_wire::node::report_to_pb;
use sortie_wire::pb;

/// The reports that wait for a session, and the ends that wait for their acknowledgement.
///
/// Neither needs a limit of its own. The master gives the room of an attempt away only once it has acknowledged the
/// attempt's end, so there is at most one end for each slot, and one start beside it. Orders are therefore read
/// however much waits here: the acknowledgements that make it less are among them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What is to be said in this session, in order.
    queue: VecDeque<Queued>,
    /// The ends that the master may not have on record, with what the attempts wrote.
    unacknowledged: BTreeMap<AttemptId, Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    Started(AttemptId),
    Ended(AttemptId),
    Leaving,
}

#[derive(Debug)]
struct Kept {
    /// Whether the command ever ran.
    started: bool,
    message: pb::Report,
}

impl Outbox {
    /// Takes a report in; an end is kept until it is acknowledged.
    pub(crate) fn push(&mut self, report: Report, output: Output) {
        match &report {
            Report::Started(attempt) => self.queue.push_back(Queued::Started(*attempt)),
            Report::Ended(attempt, end) => {
                let (attempt, started) = (*attempt, !matches!(end, End::Refused | End::CouldNotStart { .. }));
                self.unacknowledged.insert(attempt, Kept { started, message: report_to_pb(report, output) });
                self.queue.push_back(Queued::Ended(attempt));
            }
            Report::Leaving => self.queue.push_back(Queued::Leaving),
            // A heartbeat passes all reports by: it would be old before its turn came.
            Report::Heartbeat { .. } => {}
        }
    }

    /// The attempts whose end has not been acknowledged, as the worker presents them when it joins.
    ///
    /// What waited until now need not be said after that: the presentation tells it, and the ends are said again.
    pub(crate) fn present(&mut self) -> impl Iterator<Item = Held> + '_ {
        self.queue.clear();
        self.unacknowledged.iter().map(|(attempt, kept)| Held { attempt: *attempt, slots: 0, started: kept.started })
    }

    /// Makes ready for a new session: all ends first, then what else has happened since the presentation.
    pub(crate) fn open(&mut self) {
        let Outbox { queue, unacknowledged } = self;
        queue.retain(|queued| match queued {
            Queued::Started(attempt) => !unacknowledged.contains_key(attempt),
            Queued::Ended(_) | Queued::Leaving => false,
        });
        for attempt in unacknowledged.keys().rev() {
            queue.push_front(Queued::Ended(*attempt));
        }
    }

    /// The next message of this session, if there is one.
    pub(crate) fn pop(&mut self) -> Option<pb::Report> {
        match self.queue.pop_front()? {
            Queued::Started(attempt) => Some(report_to_pb(Report::Started(attempt), Output::default())),
            Queued::Ended(attempt) => self.unacknowledged.get(&attempt).map(|kept| kept.message.clone()),
            Queued::Leaving => Some(report_to_pb(Report::Leaving, Output::default())),
        }
    }

    /// Forgets an end: the master has it on record, or does not want it.
    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        self.unacknowledged.remove(&attempt);
    }

    /// Whether this attempt has ended here and the master may not know.
    pub(crate) fn keeps(&self, attempt: AttemptId) -> bool {
        self.unacknowledged.contains_key(&attempt)
    }

    /// Whether nothing waits to be said in this session.
    pub(crate) fn is_silent(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether every end has been acknowledged and nothing waits to be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.unacknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use sortie_engine::JobId;
    use sortie_wire::node::{Upward, upward_from_pb};

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        JobId(42).task(17).attempt(number)
    }

    fn said(outbox: &mut Outbox) -> Vec<Report> {
        std::iter::from_fn(|| outbox.pop())
            .map(|message| match upward_from_pb(message) {
                Ok(Upward::Report(report, _)) => report,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_start_is_said_only_if_no_presentation_tells_it() {
        let mut outbox = Outbox::default();
        outbox.push(Report::Started(attempt(1)), Output::default());
        assert_eq!(outbox.present().count(), 0);
        outbox.push(Report::Started(attempt(2)), Output::default());
        outbox.push(Report::Started(attempt(3)), Output::default());
        outbox.push(Report::Ended(attempt(3), End::Exited(0)), Output::default());
        outbox.open();
        assert_eq!(said(&mut outbox), [Report::Ended(attempt(3), End::Exited(0)), Report::Started(attempt(2))]);
    }

    #[test]
    fn an_end_is_kept_until_it_is_forgotten() {
        let mut outbox = Outbox::default();
        for number in [1, 2] {
            outbox.push(Report::Ended(attempt(number), End::Exited(0)), Output::default());
        }
        assert_eq!(said(&mut outbox).len(), 2);
        assert!(outbox.is_silent() && !outbox.is_empty());
        outbox.forget(attempt(1));
        outbox.open();
        assert_eq!(said(&mut outbox), [Report::Ended(attempt(2), End::Exited(0))]);
        outbox.forget(attempt(2));
        assert!(outbox.is_empty());
    }
}
