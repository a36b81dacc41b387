//! The HTTP interface's JSON: what clients send and what they get.

mod retry;
mod spec;
mod task;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use retry::{OnLost, Retry};
pub use spec::Spec;
pub use task::{Attempt, LostReason, Outcome, Started, State, Task, Usage};

/// A job: what one submission made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    #[schema(example = "42")]
    pub id: String,
    /// `queued` until a task leaves the queue, `running` until all have ended, then the worst that any came to.
    pub state: State,
    /// How many tasks it has.
    pub count: u32,
    /// How many of them are in each state; states with none are left out.
    pub counts: BTreeMap<String, u32>,
    /// What its tasks are.
    pub spec: Spec,
    /// When it was submitted (RFC 3339).
    #[schema(format = DateTime)]
    pub submitted_at: String,
    /// When its last task ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// The name that it gave itself.
    pub name: String,
    /// Whether it is there.
    pub state: WorkerState,
    /// Since when (RFC 3339); absent while it joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// Whether it finishes what it holds and gets nothing new.
    pub draining: bool,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// How many slots it has.
    pub slots: u32,
    /// How many of them are taken.
    pub slots_used: u32,
    /// How many tasks it holds.
    pub tasks: u32,
    /// The version of its binary.
    pub version: String,
}

/// Whether a worker is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It has introduced itself and does not take orders yet.
    Joining,
    /// It takes orders.
    Connected,
    /// It is being stopped.
    Leaving,
    /// Its session has ended, and what it holds may go on until its lease has run out.
    Unreachable,
    /// It is not there, and holds nothing.
    Gone,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The task's id.
    pub id: String,
    /// Its state.
    pub state: State,
    /// The reason, as a word to match on.
    pub reason: Reason,
    /// The reason, in a sentence.
    pub detail: String,
    /// Until when a task is held back that waits for another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// Waiting tasks with the same needs that go first; counted up to 100,000.
    pub ahead: u32,
    /// Connected workers.
    pub workers_connected: u32,
    /// Of these, how many the selector matches.
    pub workers_matching: u32,
    /// Of these, how many have as many slots in all as the task takes.
    pub workers_large_enough: u32,
    /// Of these, how many are not draining.
    pub workers_open: u32,
}

/// The first thing that keeps a task from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has ended.
    Ended,
    /// A worker holds it.
    Held,
    /// Its last attempt has ended, and it is held back before the next.
    HeldBack,
    /// No worker is connected.
    NoWorker,
    /// No connected worker has the labels that it asks for.
    NoMatch,
    /// No matching worker has that many slots.
    TooSmall,
    /// Every worker that could run it is draining.
    Draining,
    /// Every worker that could run it is busy.
    Busy,
}

/// A page of tasks, the newest first. Long specs are cut short in it, and attempts that another one follows are left out;
/// get a task for all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of jobs, the newest first. Long specs are cut short in it; get a job for its whole spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of workers, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerPage {
    /// The workers.
    pub workers: Vec<Worker>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which tasks or jobs are listed; several values of one field are separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// States, such as `queued,running`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "queued,running")]
    pub state: Option<String>,
    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The job's labels, as a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "team=a")]
    pub label: Option<String>,
    /// The worker that holds or held the task; for tasks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Tasks of this job; for tasks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Submitted then or later (RFC 3339, in UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_from: Option<String>,
    /// Submitted before then (RFC 3339, in UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_until: Option<String>,
    /// The most that one page has, to 1000; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An error (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of error, as a word to match on.
    #[schema(example = "invalid_field")]
    pub r#type: String,
    /// The kind of error, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// The fields that cannot be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// A field that cannot be, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// The field, as a JSON pointer (RFC 6901).
    #[schema(example = "/timeout")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl WorkerState {
    /// The state's name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerState::Joining => "joining",
            WorkerState::Connected => "connected",
            WorkerState::Leaving => "leaving",
            WorkerState::Unreachable => "unreachable",
            WorkerState::Gone => "gone",
        }
    }
}
