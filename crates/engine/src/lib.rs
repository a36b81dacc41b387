//! Sortie's vocabulary and its two pure state machines.
//!
//! What a client asks for comes in checked, as a [`TaskSpec`]; a [`Submission`] of it becomes a [`Job`] of one task or
//! many. The master's [`Scheduler`] takes [`Input`]s and answers with [`Effects`]; a worker's [`Slots`] do the same
//! for the attempts that the worker holds. Neither knows a clock, a socket, a file or a random number: time and
//! ids come in as arguments, so that every run can be replayed.

mod id;
mod time;
mod labels;
mod spec;
mod retry;
mod job;
mod task;
mod output;
mod event;
mod scheduler;
mod queue;
mod fleet;
mod ranges;
mod slots;

pub use event::{Answer, CloseReason, Effects, End, Input, Limits, Order, Record, Refusal, Report};
pub use fleet::{Admission, Held, Hello, Link, Worker};
pub use id::{AttemptId, IdError, JobId, RequestId, SessionId, TaskId, WorkerId};
pub use job::{Counts, Job, Submission, Tally};
pub use labels::{LabelError, Labels, MAX_LABEL_BYTES, MAX_LABELS, Selector, check_labels, parse_labels};
pub use output::{Captured, MAX_CAPTURED_BYTES, Output};
pub use ranges::Ranges;
pub use retry::{OnLost, Retry};
pub use scheduler::{Explanation, LiveJob, Scheduler, Snapshot, Why};
pub use slots::{Action, Event, Exit, Slots};
pub use spec::{Command, Needs, TaskSpec};
pub use task::{
    Active, Again, Attempt, Ended, LostReason, Outcome, QueueOutcome, Stage, Started, StateName, TaskState, Tries,
    Usage,
};
pub use time::Time;
