//! The HTTP interface's JSON: what clients send and what they get.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a task is. `{"cmd": "…"}` is enough: what is absent takes the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(title = "TaskSpec")]
pub struct Spec {
    /// A line for `/bin/sh -c`. Give one of `cmd`, `argv` and `script`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "echo hello", min_length = 1)]
    pub cmd: Option<String>,
    /// A program and its arguments, run as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub argv: Option<Vec<String>>,
    /// A file's text, with its `#!` line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^#!")]
    pub script: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Variables beside those that every command gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// An absolute path to run in; an empty directory of its own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^/")]
    pub cwd: Option<String>,
    /// The text on its standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How long the command may run; `1day` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "90s")]
    pub timeout: Option<String>,
    /// How long it has between TERM and KILL; `10s` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10s")]
    pub kill_grace: Option<String>,
    /// How long it may wait for a worker; `7days` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "7days")]
    pub queue_timeout: Option<String>,
    /// Higher goes first, FIFO within; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// How many of a worker's slots it takes; 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65_535)]
    pub slots: Option<u32>,
    /// Which workers it may run on, by their labels: `zone=a,gpu,!spot,disk!=hdd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "zone=a,gpu")]
    pub selector: Option<String>,
    /// What it is labelled with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A task's or a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a worker.
    Queued,
    /// A worker has been told.
    Assigned,
    /// It runs.
    Running,
    /// Its worker is not there, and may come back with it until its lease has run out.
    Unreachable,
    /// It is being stopped.
    Cancelling,
    /// It ended with exit code 0.
    Succeeded,
    /// It ended otherwise by itself, or could not start.
    Failed,
    /// It ran into its timeout.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody can know how it ended.
    Lost,
    /// It waited for too long.
    Expired,
}

/// How a task ended, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// By itself.
    Exited {
        /// Its exit code; 0 is success.
        code: i32,
    },
    /// By a signal that Sortie did not send.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It could not be started.
    CouldNotStart {
        /// The system's error number; 2 is ENOENT.
        errno: i32,
        /// What could not be done.
        detail: String,
    },
    /// It ran for longer than its timeout and was stopped.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled {
        /// Who asked.
        by: String,
        /// Whether the command is known to be gone.
        confirmed: bool,
    },
    /// It waited for longer than its queue timeout.
    Expired,
    /// Nobody can know how it ended.
    Lost {
        /// Whether the command had started.
        started: Started,
        /// What cut the master off from it.
        reason: LostReason,
    },
}

/// Whether the command of a lost attempt had started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// The worker says that it did not.
    No,
    /// The worker had said that it did.
    Yes,
    /// The order was sent, and nothing was heard.
    Unknown,
}

/// What cut the master off from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// The worker was not heard of until its lease had run out.
    LeaseEnded,
    /// The worker was stopped, and stopped its commands.
    WorkerStopped,
    /// The worker did not say in time that it had started, or ended, the command.
    Overdue,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id, such as `42.17`.
    #[schema(example = "42.0")]
    pub id: String,
    /// Its job's id.
    #[schema(example = "42")]
    pub job: String,
    /// Its place in the job, from 0.
    pub index: u32,
    /// Where it is.
    pub state: State,
    /// How it ended; absent until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What it is.
    pub spec: Spec,
    /// When it was submitted (RFC 3339).
    #[schema(format = DateTime)]
    pub submitted_at: String,
    /// When its last attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Every try at it, the oldest first.
    pub attempts: Vec<Attempt>,
}

/// One try at a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The worker that it was given to.
    pub worker: String,
    /// When it was given to it.
    #[schema(format = DateTime)]
    pub assigned_at: String,
    /// When its command started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

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

/// A page of tasks, the newest first. Long specs are cut short in it; get a task for its whole spec.
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

impl State {
    /// The state's name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Assigned => "assigned",
            State::Running => "running",
            State::Unreachable => "unreachable",
            State::Cancelling => "cancelling",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::TimedOut => "timed_out",
            State::Cancelled => "cancelled",
            State::Lost => "lost",
            State::Expired => "expired",
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= State::Succeeded
    }
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
