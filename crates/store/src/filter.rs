//! What a listing may ask for.

use sortie_engine::{JobId, Selector, StateName, Time};

/// The most rows that one page has, whatever was asked for.
pub const MAX_PAGE: u32 = 10_000;

/// Which tasks a listing shows; what is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only tasks of this job.
    pub job: Option<JobId>,
    /// Only tasks in one of these states.
    pub states: Vec<StateName>,
    /// Only tasks that the worker of this name holds, or held to their end.
    pub worker: Option<String>,
    /// Only tasks of jobs with this name.
    pub name: Option<String>,
    /// Only tasks of jobs whose labels it matches.
    pub selector: Selector,
    /// Only tasks submitted then or later.
    pub submitted_from: Option<Time>,
    /// Only tasks submitted before then.
    pub submitted_until: Option<Time>,
}

/// Which jobs a listing shows; what is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs in one of these states, of those that a job can be in.
    pub states: Vec<StateName>,
    /// Only jobs with this name.
    pub name: Option<String>,
    /// Only jobs whose labels it matches.
    pub selector: Selector,
    /// Only jobs submitted then or later.
    pub submitted_from: Option<Time>,
    /// Only jobs submitted before then.
    pub submitted_until: Option<Time>,
}

/// Which workers a listing shows; what is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFilter {
    /// Only workers whose link has one of these names.
    pub states: Vec<String>,
    /// Only workers whose labels it matches.
    pub selector: Selector,
}
