//! How everyone else speaks to the driver.

use std::sync::Arc;

use sortie_engine::{
    Admission, Answer, Explanation, Input, Job, JobId, Output, Report, RequestId, SessionId, Submission, TaskId,
};
use sortie_wire::node::Introduction;
use sortie_wire::pb;
use tokio::sync::{mpsc, oneshot, watch};

/// The most messages that wait for the driver; who comes when it is full is told to come again.
pub(crate) const MAX_WAITING: usize = 16_384;

/// The orders to one session, as its stream sends them; an error ends the stream.
pub(crate) type Orders = mpsc::Sender<Result<pb::Order, tonic::Status>>;

/// Where the driver puts an answer of the scheduler's.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// What the driver is told and asked.
#[derive(Debug)]
pub(crate) enum Message {
    /// A request of a client, or a worker's introduction.
    Ask(Ask, Reply),
    /// A worker opens its stream.
    Connect { session: SessionId, orders: Orders, reply: Reply },
    /// A worker reports, with what an ended attempt wrote.
    Report { session: SessionId, report: Report, output: Option<Output> },
    /// A worker's stream has ended.
    Disconnect { session: SessionId },
    /// Why a task is not running.
    Explain { task: TaskId, reply: oneshot::Sender<Option<Explanation>> },
    /// Wake me when a job changes; a job that is not live gets a closed receiver.
    Watch { job: JobId, reply: oneshot::Sender<watch::Receiver<()>> },
    /// Bring those metrics up to date that only the scheduler knows.
    Measure { reply: oneshot::Sender<()> },
}

/// A request that the scheduler answers.
#[derive(Debug)]
pub(crate) enum Ask {
    Submit(Box<Submission>),
    CancelTask { task: TaskId, by: String },
    CancelJob { job: JobId, by: String },
    Admit { worker: String, admission: Admission },
    Join { session: SessionId, introduction: Introduction },
}

/// Why the driver gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the master is busy; try again in a moment")]
    Busy,
    #[error("the master is stopping")]
    Stopping,
}

/// A way to the driver, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle(mpsc::Sender<Message>);

impl Ask {
    /// The scheduler's input; `known` is the job that a submission's key stands for on disk.
    pub(crate) fn into_input(self, request: RequestId, known: Option<Arc<Job>>) -> Input {
        match self {
            Ask::Submit(submission) => Input::Submit { request, submission, known },
            Ask::CancelTask { task, by } => Input::CancelTask { request, task, by },
            Ask::CancelJob { job, by } => Input::CancelJob { request, job, by },
            Ask::Admit { worker, admission } => Input::Admit { request, worker, admission },
            Ask::Join { session, introduction: Introduction { hello, number, held } } => {
                Input::Join { request, session, hello, introduction: number, held }
            }
        }
    }

    /// The key that makes a repeat of it known as one.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Ask::Submit(submission) => submission.key.as_deref(),
            Ask::CancelTask { .. } | Ask::CancelJob { .. } | Ask::Admit { .. } | Ask::Join { .. } => None,
        }
    }
}

impl Handle {
    /// A handle, and the end of it that the driver keeps.
    pub(crate) fn new() -> (Handle, mpsc::Receiver<Message>) {
        let (tx, rx) = mpsc::channel(MAX_WAITING);
        (Handle(tx), rx)
    }

    /// Asks the scheduler; its answer is durable when it comes.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Unanswered> {
        self.request(|reply| Message::Ask(ask, reply)).await
    }

    /// Opens a worker's stream.
    pub(crate) async fn connect(&self, session: SessionId, orders: Orders) -> Result<Answer, Unanswered> {
        self.request(|reply| Message::Connect { session, orders, reply }).await
    }

    /// Why a task is not running; nothing if it is not live.
    pub(crate) async fn explain(&self, task: TaskId) -> Result<Option<Explanation>, Unanswered> {
        self.request(|reply| Message::Explain { task, reply }).await
    }

    /// Wakes at every change of a job, and closes at its end.
    pub(crate) async fn watch(&self, job: JobId) -> Result<watch::Receiver<()>, Unanswered> {
        self.request(|reply| Message::Watch { job, reply }).await
    }

    /// Brings those metrics up to date that only the scheduler knows.
    pub(crate) async fn measure(&self) -> Result<(), Unanswered> {
        self.request(|reply| Message::Measure { reply }).await
    }

    /// Hands a worker's report on, and waits while the driver is busy: HTTP/2 holds the worker back.
    pub(crate) async fn report(
        &self,
        session: SessionId,
        report: Report,
        output: Option<Output>,
    ) -> Result<(), Unanswered> {
        self.0.send(Message::Report { session, report, output }).await.map_err(|_| Unanswered::Stopping)
    }

    /// Says that a worker's stream has ended; nobody is left to care when the driver is gone.
    pub(crate) async fn disconnect(&self, session: SessionId) {
        _ = self.0.send(Message::Disconnect { session }).await;
    }

    async fn request<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(message(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }
}
