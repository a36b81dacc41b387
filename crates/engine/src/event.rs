//! Everything that can happen to the master, and everything that it may do about it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::{Admission, Held, Hello, Worker};
use crate::id::{AttemptId, JobId, RequestId, SessionId, TaskId};
use crate::job::{Job, Submission, Tally};
use crate::task::{Active, Again, Ended, QueueOutcome, Usage};
use crate::time::Time;

/// Everything that can happen to the master.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client submits a job.
    Submit {
        /// Whom to answer.
        request: RequestId,
        /// What it asks for.
        submission: Box<Submission>,
        /// The job that was submitted under the same key before, as far as it is on disk.
        known: Option<Arc<Job>>,
    },
    /// A client cancels one task.
    CancelTask {
        /// Whom to answer.
        request: RequestId,
        /// Which task.
        task: TaskId,
        /// Who asks.
        by: String,
    },
    /// A client cancels every task of a job that has not ended.
    CancelJob {
        /// Whom to answer.
        request: RequestId,
        /// Which job.
        job: JobId,
        /// Who asks.
        by: String,
    },
    /// A client drains a worker, or opens it again.
    Admit {
        /// Whom to answer.
        request: RequestId,
        /// The worker's name.
        worker: String,
        /// Whether it may be given new tasks.
        admission: Admission,
    },
    /// A worker introduces itself.
    Join {
        /// Whom to answer.
        request: RequestId,
        /// The id of its session, never used before.
        session: SessionId,
        /// What it says about itself.
        hello: Hello,
        /// How many times this process has introduced itself, with this one: the greater one is the later.
        introduction: u64,
        /// The attempts that it holds, or whose end it has not been able to tell.
        held: Vec<Held>,
    },
    /// A worker that has introduced itself is ready to take orders.
    Connect {
        /// Whom to answer.
        request: RequestId,
        /// Its session.
        session: SessionId,
    },
    /// A worker reports.
    Report {
        /// Its session.
        session: SessionId,
        /// What it says.
        report: Report,
    },
    /// A worker's connection ended.
    Disconnect {
        /// Its session.
        session: SessionId,
    },
    /// The time of [`next_deadline`](crate::Scheduler::next_deadline) has come.
    Wake,
}

/// What a worker tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command runs.
    Started(AttemptId),
    /// The command is gone, with what it used if that could be told.
    Ended(AttemptId, End, Option<Usage>),
    /// The worker is being stopped and takes no new orders.
    Leaving,
    /// The worker is still there.
    Heartbeat {
        /// When it said so, by its own clock; the acknowledgement quotes it.
        sent: Time,
    },
}

/// How an attempt ended, as its worker saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with an exit code.
    Exited(i32),
    /// By a signal that the worker did not send.
    Signaled(i32),
    /// By the kernel, which had no memory left.
    OutOfMemory,
    /// It could not be started.
    CouldNotStart {
        /// The system's error number.
        errno: i32,
        /// What could not be done.
        detail: String,
    },
    /// The worker stopped it at its timeout.
    TimedOut,
    /// The worker stopped it because the master ordered so.
    Stopped,
    /// The worker stopped it because the worker itself was stopped.
    WorkerStopped,
    /// The worker stopped it because its lease ran out.
    LeaseEnded,
    /// The worker's process died, and what it had left of the command is gone.
    Abandoned,
    /// The worker never started it, having no room or no time left.
    Refused,
}

/// What the master tells a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this attempt.
    Start(AttemptId, Arc<Job>),
    /// Stop this attempt, or never start it.
    Stop(AttemptId),
    /// No new orders will come.
    Drain,
    /// The heartbeat that was sent then has arrived.
    Renew {
        /// When it was sent, by the worker's clock.
        sent: Time,
    },
    /// The end of this attempt is on record: the worker may forget it.
    Acknowledge(AttemptId),
    /// The session is over, and why.
    Close(CloseReason),
}

/// Why the master ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The same worker has come back on another connection.
    Superseded,
    /// The worker did not open its stream in time.
    Late,
    /// The worker was not heard of until its lease had run out.
    Silent,
}

/// A change to be made durable, as the new state of what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A job, all of whose tasks wait.
    Submitted(Arc<Job>),
    /// A task left the queue for a worker.
    Placed(TaskId, Active),
    /// A task that a worker holds has moved on.
    Moved(TaskId, Active),
    /// A task that a worker held has ended.
    Ended(TaskId, Ended),
    /// An attempt has ended, and its task waits for another one.
    Retried(TaskId, Ended, Again),
    /// A task that waited for another attempt has ended.
    GivenUp {
        /// Which.
        task: TaskId,
        /// When.
        at: Time,
        /// How.
        outcome: QueueOutcome,
    },
    /// Tasks that waited for their first attempt have ended.
    EndedInQueue {
        /// Their job.
        job: JobId,
        /// Their indices.
        range: Range<u32>,
        /// When.
        at: Time,
        /// How.
        outcome: QueueOutcome,
    },
    /// How many tasks of a job have ended, and when the last of them did.
    Counted {
        /// The job.
        job: JobId,
        /// The counts.
        tally: Tally,
        /// When the job ended, if it has.
        ended: Option<Time>,
    },
    /// What is known of a worker.
    Worker(Worker),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The job has this id.
    Submitted(JobId),
    /// The job was submitted before, under the same key, and has this id.
    Repeated(JobId),
    /// The key was used before, for another submission: that of this job.
    KeyTaken(JobId),
    /// As much waits as may wait: the same may be asked again later.
    QueueFull,
    /// It is so now, or was so already.
    Done,
    /// The worker has joined.
    Joined {
        /// What it holds and must not: it kills these at once.
        kill: Vec<AttemptId>,
    },
    /// No live task, job or worker of that name; one that has ended may be in the store.
    NotLive,
    /// The worker may not join.
    Refused(Refusal),
}

/// Why a worker may not join or connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another process with the name is connected.
    #[error("another worker with this name is connected; give each worker a name of its own")]
    NameTaken,
    /// The same process has introduced itself again since.
    #[error("a later introduction of this worker has arrived before this one")]
    Outdated,
    /// The session is unknown, ended, or connected already.
    #[error("the session is not open; report the status again to get a new one")]
    NoSession,
}

/// What is to be done: records first, then the rest.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To be committed in one transaction before anything below is done.
    pub records: Vec<Record>,
    /// To be sent to workers, in this order.
    pub orders: Vec<(SessionId, Order)>,
    /// To be sent to clients and workers that asked.
    pub answers: Vec<(RequestId, Answer)>,
    /// Reports that did not fit: an older attempt, another session's task.
    pub stale_reports: u64,
    /// The jobs among the records that were submitted under a key, by their keys.
    pub keys: BTreeMap<String, Arc<Job>>,
}

/// How long the master waits for workers, and how much may wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From a session's opening to its stream.
    pub join_timeout: Duration,
    /// From an order to the worker's word that the command started.
    pub start_timeout: Duration,
    /// For how long a worker keeps its attempts alive without hearing from the master.
    pub lease: Duration,
    /// From a lease's end, as the master counts it, to giving its attempts up: for clocks that run apart.
    pub lease_margin: Duration,
    /// From the time by which a worker should have stopped a command to the master's giving it up.
    pub stop_margin: Duration,
    /// The most jobs that have not ended.
    pub max_jobs: usize,
    /// The most bytes that their specs take together.
    pub max_spec_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            join_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(15),
            lease_margin: Duration::from_secs(5),
            stop_margin: Duration::from_secs(30),
            max_jobs: 2_000_000,
            max_spec_bytes: 1024 * 1024 * 1024,
        }
    }
}
