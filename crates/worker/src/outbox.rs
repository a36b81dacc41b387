//! What the master has not been told yet, or may have to be told again.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use sortie_engine::{AttemptId, End, Held, Output, Report};
use sortie_wire::node::{Upward, report_to_pb, upward_from_pb};
use sortie_wire::pb;

use crate::journal::{Journal, Legacy, Past};

/// The reports that wait for a session, and the ends that wait for their acknowledgement.
///
/// Neither needs a limit of its own. The master gives the room of an attempt away only once it has acknowledged the
/// attempt's end, so there is at most one end for each slot, and one start beside it. Orders are therefore read
/// however much waits here: the acknowledgements that make it less are among them.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The ends, for the next process of this worker should this one die.
    journal: Journal,
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
    /// Whether the command is known to have run.
    started: bool,
    message: pb::Report,
}

impl Outbox {
    /// An outbox with what an earlier process of this worker has left to tell. What that had begun is gone by now.
    pub(crate) fn new(journal: Journal, legacy: Legacy) -> Self {
        let mut outbox = Outbox { journal, queue: VecDeque::new(), unacknowledged: BTreeMap::new() };
        for (attempt, past) in legacy {
            let abandoned = || (Report::Ended(attempt, End::Abandoned, None), None);
            let (report, output) = match past {
                Past::Begun => abandoned(),
                Past::Ended(message) => match upward_from_pb(message) {
                    Ok(Upward::Report(report, output)) => (report, output),
                    // An end of a kind that a later version knows.
                    Ok(Upward::Open(_)) | Err(_) => abandoned(),
                },
            };
            outbox.unacknowledged.insert(attempt, Kept::new(report, output.unwrap_or_default()));
        }
        outbox
    }

    /// Writes down that an attempt is about to be begun.
    ///
    /// # Errors
    /// When that cannot be: then it must not begin.
    pub(crate) fn begin(&mut self, attempt: AttemptId) -> io::Result<()> {
        self.journal.begin(attempt)
    }

    /// Takes a report in; an end is kept until it is acknowledged.
    pub(crate) fn push(&mut self, report: Report, output: Output) {
        match report {
            Report::Started(attempt) => self.queue.push_back(Queued::Started(attempt)),
            Report::Ended(attempt, ..) => {
                let kept = Kept::new(report, output);
                self.journal.end(attempt, &kept.message);
                self.unacknowledged.insert(attempt, kept);
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
        let Outbox { queue, unacknowledged, .. } = self;
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
        if self.unacknowledged.remove(&attempt).is_some() {
            self.journal.forget(attempt);
        }
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

impl Kept {
    fn new(report: Report, output: Output) -> Self {
        // What was begun by a process that died may have run or not: only the master may have heard that it did.
        let started = !matches!(report, Report::Ended(_, End::Refused | End::CouldNotStart { .. } | End::Abandoned, _));
        Kept { started, message: report_to_pb(report, output) }
    }
}

#[cfg(test)]
mod tests {
    use sortie_engine::{Captured, JobId, Usage};

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        JobId(42).task(17).attempt(number)
    }

    fn ended(number: u32) -> Report {
        Report::Ended(attempt(number), End::Exited(0), Some(Usage::default()))
    }

    fn said(outbox: &mut Outbox) -> Vec<Report> {
        std::iter::from_fn(|| outbox.pop())
            .map(|message| match upward_from_pb(message) {
                Ok(Upward::Report(report, _)) => report,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn open(dir: &std::path::Path) -> Outbox {
        let (journal, legacy) = Journal::open(dir).expect("a journal");
        Outbox::new(journal, legacy)
    }

    #[test]
    fn a_start_is_said_only_if_no_presentation_tells_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut outbox = open(dir.path());
        outbox.push(Report::Started(attempt(1)), Output::default());
        assert_eq!(outbox.present().count(), 0);
        outbox.push(Report::Started(attempt(2)), Output::default());
        outbox.push(Report::Started(attempt(3)), Output::default());
        outbox.push(ended(3), Output::default());
        outbox.open();
        assert_eq!(said(&mut outbox), [ended(3), Report::Started(attempt(2))]);
    }

    #[test]
    fn an_end_is_kept_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut outbox = open(dir.path());
        for number in [1, 2] {
            outbox.push(ended(number), Output::default());
        }
        assert_eq!(said(&mut outbox).len(), 2);
        assert!(outbox.is_silent() && !outbox.is_empty());
        outbox.forget(attempt(1));
        outbox.open();
        assert_eq!(said(&mut outbox), [ended(2)]);
        outbox.forget(attempt(2));
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_next_process_tells_what_this_one_has_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut outbox = open(dir.path());
        for number in 1..=4 {
            outbox.begin(attempt(number)).expect("a record");
        }
        let stdout = Captured { bytes: b"out".to_vec(), dropped: 7 };
        let output = Output { stdout, ..Output::default() };
        outbox.push(ended(2), output.clone());
        outbox.push(ended(3), Output::default());
        outbox.forget(attempt(3));
        outbox.push(Report::Ended(attempt(5), End::Refused, None), Output::default());
        let could_not = End::CouldNotStart { errno: 2, detail: "none".to_owned() };
        outbox.push(Report::Ended(attempt(4), could_not.clone(), None), Output::default());
        drop(outbox);

        let mut outbox = open(dir.path());
        let held = |number, started| Held { attempt: attempt(number), slots: 0, started };
        let presented: Vec<Held> = outbox.present().collect();
        assert_eq!(presented, [held(1, false), held(2, true), held(4, false), held(5, false)]);
        outbox.open();
        let message = outbox.unacknowledged[&attempt(2)].message.clone();
        assert_eq!(upward_from_pb(message), Ok(Upward::Report(ended(2), Some(output))));
        let abandoned = Report::Ended(attempt(1), End::Abandoned, None);
        let refused = Report::Ended(attempt(5), End::Refused, None);
        let failed = Report::Ended(attempt(4), could_not, None);
        assert_eq!(said(&mut outbox), [abandoned, ended(2), failed, refused]);
        assert!(outbox.keeps(attempt(1)), "an order to start it is a repeat");
        for number in [1, 2, 4, 5] {
            outbox.forget(attempt(number));
        }
        drop(outbox);
        assert!(open(dir.path()).is_empty());
    }
}
