//! Tasks, their attempts and their ends.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Spec;

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
    /// The kernel killed it because there was no memory left.
    OutOfMemory,
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
    /// The worker's process died; the next one has killed what it left.
    WorkerDied,
    /// The order did not reach the worker.
    OrderLost,
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
    /// Until when it is held back, while it waits for another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
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
    /// What its command used, once it has ended and where its worker could say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What a command used, with those of its children that it or its worker waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// CPU time, in user and system mode together.
    #[schema(example = "1s 200ms")]
    pub cpu: String,
    /// The largest resident size of any one process, in bytes; 0 if it was too small to be told from the worker's own.
    pub max_rss_bytes: u64,
    /// How many processes had to be killed: those that TERM or the command's own end had left.
    pub killed: u32,
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
