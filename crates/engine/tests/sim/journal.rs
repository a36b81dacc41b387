//! What a machine remembers of its worker's processes when one has died: which commands it had begun, and which ends
//! nobody has acknowledged.

use std::collections::BTreeMap;

use sortie_engine::{AttemptId, End, Held, Report, Usage};

#[derive(Debug, Default)]
pub(crate) struct Journal(BTreeMap<AttemptId, Entry>);

#[derive(Debug)]
enum Entry {
    /// It was to be started: written down before it was, and once more after.
    Begun { started: bool },
    /// It has ended.
    Ended { started: bool, end: End, usage: Option<Usage> },
}

impl Journal {
    /// A command is about to be started.
    pub(crate) fn begin(&mut self, attempt: AttemptId) {
        self.0.insert(attempt, Entry::Begun { started: false });
    }

    /// A command has been started.
    pub(crate) fn started(&mut self, attempt: AttemptId) {
        self.0.insert(attempt, Entry::Begun { started: true });
    }

    /// A command has ended, or was never begun.
    pub(crate) fn end(&mut self, attempt: AttemptId, end: End, usage: Option<Usage>) {
        let started = matches!(self.0.get(&attempt), Some(Entry::Begun { started: true }));
        self.0.insert(attempt, Entry::Ended { started, end, usage });
    }

    /// The master has the end on record, or does not want it.
    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        self.0.remove(&attempt);
    }

    /// The process that began all this has died, and all that it left is gone.
    pub(crate) fn abandon(&mut self) {
        for entry in self.0.values_mut() {
            match entry {
                Entry::Begun { started } => {
                    *entry = Entry::Ended { started: *started, end: End::Abandoned, usage: None }
                }
                Entry::Ended { .. } => {}
            }
        }
    }

    /// Whether the end of an attempt waits to be acknowledged.
    pub(crate) fn has_ended(&self, attempt: AttemptId) -> bool {
        matches!(self.0.get(&attempt), Some(Entry::Ended { .. }))
    }

    /// Whether nothing waits to be acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended().next().is_none()
    }

    /// The ends as the worker presents them when it joins.
    pub(crate) fn presented(&self) -> impl Iterator<Item = Held> + '_ {
        self.ended().map(|(attempt, started, ..)| Held { attempt, slots: 0, started })
    }

    /// The ends as the worker tells them.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.ended().map(|(attempt, _, end, usage)| Report::Ended(attempt, end.clone(), usage)).collect()
    }

    fn ended(&self) -> impl Iterator<Item = (AttemptId, bool, &End, Option<Usage>)> + '_ {
        self.0.iter().filter_map(|(attempt, entry)| match entry {
            Entry::Begun { .. } => None,
            Entry::Ended { started, end, usage } => Some((*attempt, *started, end, *usage)),
        })
    }
}
