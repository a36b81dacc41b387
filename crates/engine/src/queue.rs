//! The queue: jobs with waiting tasks, in classes of the same needs, each by priority and then by age.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::JobId;
use crate::labels::Labels;
use crate::spec::{Needs, TaskSpec};

/// A job's place in its class: higher priority first, then the older job.
type Place = (Reverse<i32>, JobId);

/// Jobs that have waiting tasks.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    classes: BTreeMap<Needs, BTreeSet<Place>>,
}

impl Queue {
    /// Adds a job whose first task begins to wait.
    pub(crate) fn insert(&mut self, job: JobId, spec: &TaskSpec) {
        let place = (Reverse(spec.priority), job);
        match self.classes.get_mut(&spec.needs) {
            Some(class) => _ = class.insert(place),
            None => _ = self.classes.insert(spec.needs.clone(), [place].into()),
        }
    }

    /// Takes a job out whose last waiting task is gone.
    pub(crate) fn remove(&mut self, job: JobId, spec: &TaskSpec) {
        let Some(class) = self.classes.get_mut(&spec.needs) else { return };
        class.remove(&(Reverse(spec.priority), job));
        if class.is_empty() {
            self.classes.remove(&spec.needs);
        }
    }

    /// The first job that a worker with these labels and free slots can serve. Costs what the classes cost.
    pub(crate) fn first_for(&self, labels: &Labels, free: u32) -> Option<JobId> {
        let fits = |needs: &Needs| needs.slots <= free && needs.selector.matches(labels);
        let heads = self.classes.iter().filter(|(needs, _)| fits(needs)).filter_map(|(_, class)| class.first());
        heads.min().map(|(_, job)| *job)
    }

    /// The jobs of the same class that go before `job`, in order.
    pub(crate) fn ahead(&self, job: JobId, spec: &TaskSpec) -> impl Iterator<Item = JobId> + '_ {
        let place = (Reverse(spec.priority), job);
        let class = self.classes.get(&spec.needs);
        class.into_iter().flat_map(move |class| class.range(..place)).map(|(_, job)| *job)
    }

    /// Every class, with its jobs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Needs, JobId)> + '_ {
        self.classes.iter().flat_map(|(needs, class)| class.iter().map(move |(_, job)| (needs, *job)))
    }

    /// The needs of every class.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &Needs> + '_ {
        self.classes.keys()
    }
}
