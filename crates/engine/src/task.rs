//! A task's states, as enums whose variants carry their data, and how tasks end.

use std::time::Duration;

use crate::id::WorkerId;
use crate::time::Time;

/// Who tries a task, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt's number, from 1.
    pub number: u32,
    /// The worker that it was given to.
    pub worker: WorkerId,
    /// Which of the worker's processes that was; see [`Worker::incarnation`](crate::Worker::incarnation).
    pub incarnation: u32,
    /// When it was given to it.
    pub assigned: Time,
}

/// How far a live attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The worker has been told; it has not answered yet.
    Assigned,
    /// The worker has started the command.
    Running {
        /// When the master heard of it.
        started: Time,
    },
    /// The worker's session has ended; until its lease has, the command may go on.
    Unreachable {
        /// When the command started, if it is known to have.
        started: Option<Time>,
        /// When the lease, and the master's margin after it, has run out.
        until: Time,
    },
    /// The worker has been told to stop the command, or will be when it is back.
    Cancelling {
        /// When the command started, if it had.
        started: Option<Time>,
        /// When somebody asked for the cancellation.
        requested: Time,
        /// Who asked.
        by: String,
        /// When the master stops waiting for the worker's word.
        until: Time,
    },
}

/// A task that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Who tries it.
    pub attempt: Attempt,
    /// What came of the attempts before.
    pub tries: Tries,
    /// How far it is.
    pub stage: Stage,
}

/// How often a task has been tried in vain, in the ways that its policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts whose command failed or ran into its timeout.
    pub failed: u32,
    /// Attempts that were lost once they had started, or may have.
    pub lost: u32,
}

/// A task that waits for another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The number of its last attempt.
    pub attempt: u32,
    /// What came of its attempts.
    pub tries: Tries,
    /// Until when it is held back.
    pub not_before: Time,
}

/// An attempt that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Who tried it.
    pub attempt: Attempt,
    /// When the command started, if it is known to have.
    pub started: Option<Time>,
    /// When the master heard of the end.
    pub at: Time,
    /// How it ended.
    pub outcome: Outcome,
    /// What the command used, where its worker could say.
    pub usage: Option<Usage>,
}

/// What a command used, with those of its children that it or its worker waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, in user and system mode together.
    pub cpu: Duration,
    /// The largest resident size of any one process, in bytes.
    pub max_rss: u64,
    /// How many processes had to be killed: those that TERM or the command's own end had left.
    pub killed: u32,
}

/// Everything that can be said about where a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for a worker, and was never given to one.
    Queued,
    /// It waits for another attempt.
    Again(Again),
    /// A worker holds it.
    Active(Active),
    /// Its last attempt came to its end.
    Ended(Ended),
    /// It ended while it waited.
    EndedInQueue {
        /// When.
        at: Time,
        /// How.
        outcome: QueueOutcome,
    },
}

/// How a task ended while it waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueOutcome {
    /// Somebody cancelled it.
    Cancelled {
        /// Who asked.
        by: String,
    },
    /// It waited longer than its queue timeout.
    Expired,
}

/// How an attempt ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command ended by itself.
    Exited {
        /// Its exit code; 0 is success.
        code: i32,
    },
    /// A signal that Sortie did not send ended the command.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed it because there was no memory left.
    OutOfMemory,
    /// The command could not be started.
    CouldNotStart {
        /// The system's error number.
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
        /// Whether the worker has said that the command is gone.
        confirmed: bool,
    },
    /// The master cannot know how the command ended.
    Lost {
        /// Whether it had started.
        started: Started,
        /// What cut the master off from it.
        reason: LostReason,
    },
}

/// Whether the command of a lost attempt had started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The worker says that it did not.
    No,
    /// The worker had said that it did.
    Yes,
    /// The order was sent, and nothing was heard.
    Unknown,
}

/// What cut the master off from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The name of a task's state, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateName {
    /// It waits for a worker.
    Queued,
    /// A worker has been told.
    Assigned,
    /// It runs.
    Running,
    /// Its worker is not there, and may come back with it.
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

impl Active {
    /// When the command started, if it is known to have.
    #[must_use]
    pub fn started(&self) -> Option<Time> {
        match &self.stage {
            Stage::Assigned => None,
            Stage::Running { started } => Some(*started),
            Stage::Unreachable { started, .. } | Stage::Cancelling { started, .. } => *started,
        }
    }

    /// The state's name.
    #[must_use]
    pub fn name(&self) -> StateName {
        match &self.stage {
            Stage::Assigned => StateName::Assigned,
            Stage::Running { .. } => StateName::Running,
            Stage::Unreachable { .. } => StateName::Unreachable,
            Stage::Cancelling { .. } => StateName::Cancelling,
        }
    }

    /// The attempt's end.
    #[must_use]
    pub fn ended(&self, at: Time, outcome: Outcome, usage: Option<Usage>) -> Ended {
        Ended { attempt: self.attempt.clone(), started: self.started(), at, outcome, usage }
    }
}

impl Outcome {
    /// The final state that the outcome leads to.
    #[must_use]
    pub fn state(&self) -> StateName {
        match self {
            Outcome::Exited { code: 0 } => StateName::Succeeded,
            Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::OutOfMemory
            | Outcome::CouldNotStart { .. } => StateName::Failed,
            Outcome::TimedOut => StateName::TimedOut,
            Outcome::Cancelled { .. } => StateName::Cancelled,
            Outcome::Lost { .. } => StateName::Lost,
        }
    }
}

impl QueueOutcome {
    /// The final state that the outcome leads to.
    #[must_use]
    pub fn state(&self) -> StateName {
        match self {
            QueueOutcome::Cancelled { .. } => StateName::Cancelled,
            QueueOutcome::Expired => StateName::Expired,
        }
    }
}

impl TaskState {
    /// The state's name.
    #[must_use]
    pub fn name(&self) -> StateName {
        match self {
            TaskState::Queued | TaskState::Again(_) => StateName::Queued,
            TaskState::Active(active) => active.name(),
            TaskState::Ended(ended) => ended.outcome.state(),
            TaskState::EndedInQueue { outcome, .. } => outcome.state(),
        }
    }
}

impl StateName {
    /// All states, in the order in which a task goes through them.
    pub const ALL: [StateName; 11] = [
        StateName::Queued,
        StateName::Assigned,
        StateName::Running,
        StateName::Unreachable,
        StateName::Cancelling,
        StateName::Succeeded,
        StateName::Failed,
        StateName::TimedOut,
        StateName::Cancelled,
        StateName::Lost,
        StateName::Expired,
    ];

    /// The name as it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Queued => "queued",
            StateName::Assigned => "assigned",
            StateName::Running => "running",
            StateName::Unreachable => "unreachable",
            StateName::Cancelling => "cancelling",
            StateName::Succeeded => "succeeded",
            StateName::Failed => "failed",
            StateName::TimedOut => "timed_out",
            StateName::Cancelled => "cancelled",
            StateName::Lost => "lost",
            StateName::Expired => "expired",
        }
    }

    /// The state that is written as `text`.
    #[must_use]
    pub fn parse(text: &str) -> Option<StateName> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= StateName::Succeeded
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
