//! The workers' side: they introduce themselves, then open one stream for reports and orders.

use std::time::Duration;

use sortie_engine::{Answer, SessionId};
use sortie_wire::draft::MAX_SLOTS;
use sortie_wire::node::{self as words, Upward, Welcome};
use sortie_wire::pb::node_service_server::NodeService;
use sortie_wire::{PROTOCOL, pb};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::status::refused;
use crate::handle::{Ask, Handle, Orders, Unanswered};
use crate::service::Service;

/// How long a worker may take from opening its stream to saying which session it is for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The most orders that wait for one worker: a start and a stop for each slot that a worker can have. A worker that
/// does not take them is cut off.
const MAX_ORDERS: usize = 2 * MAX_SLOTS as usize;

/// How often a worker is heard of within its lease: some heartbeats may be late.
const HEARTBEATS_A_LEASE: u32 = 5;

/// The workers' service.
pub(super) struct Node {
    service: Service,
    version: String,
    lease: Duration,
}

impl Node {
    pub(super) fn new(service: Service, version: String, lease: Duration) -> Self {
        Node { service, version, lease }
    }
}

#[tonic::async_trait]
impl NodeService for Node {
    type AssignTaskStream = ReceiverStream<Result<pb::Order, Status>>;

    async fn report_status(
        &self,
        request: Request<pb::ReportStatusRequest>,
    ) -> Result<Response<pb::ReportStatusResponse>, Status> {
        let peer = request.remote_addr();
        let request = request.into_inner();
        if request.protocol < PROTOCOL {
            let detail = format!("this master speaks protocol {PROTOCOL}, the worker {}; upgrade it", request.protocol);
            return Err(Status::failed_precondition(detail));
        }
        let introduction = words::hello_from_pb(request).map_err(Status::invalid_argument)?;
        let session = new_session()?;
        let (worker, version) = (introduction.hello.name.clone(), introduction.hello.version.clone());
        let presented = introduction.held.len();
        let answer = self.service.handle().ask(Ask::Join { session, introduction }).await?;
        let Answer::Joined { kill } = answer else { return Err(not_joined(&answer)) };
        let peer = peer.map(tracing::field::display);
        tracing::info!(worker, version, peer, %session, presented, kill = kill.len(), "a worker joins");
        Ok(Response::new(words::welcome_to_pb(Welcome {
            session: session.0,
            version: self.version.clone(),
            lease: self.lease,
            heartbeat_interval: self.lease / HEARTBEATS_A_LEASE,
            kill,
        })))
    }

    async fn assign_task(
        &self,
        request: Request<Streaming<pb::Report>>,
    ) -> Result<Response<Self::AssignTaskStream>, Status> {
        let mut reports = request.into_inner();
        let session = opened(&mut reports).await?;
        let (orders, stream) = mpsc::channel(MAX_ORDERS);
        let (answer, answered) = oneshot::channel();
        // A task of its own: the call is dropped when its client goes away, and a session that was opened must end.
        tokio::spawn(hold(reports, session, orders, self.service.handle().clone(), answer));
        let answer = answered.await.map_err(|_| Unanswered::Stopping)??;
        let Answer::Done = answer else { return Err(not_joined(&answer)) };
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Opens a session, says so, and holds it for as long as the worker's stream lives.
async fn hold(
    reports: Streaming<pb::Report>,
    session: SessionId,
    orders: Orders,
    handle: Handle,
    answer: oneshot::Sender<Result<Answer, Unanswered>>,
) {
    let connected = handle.connect(session, orders).await;
    let open = connected == Ok(Answer::Done);
    let heard = answer.send(connected).is_ok();
    if !open {
        return;
    }
    let reason = if heard { receive(reports, session, &handle).await } else { "its worker went away".to_owned() };
    tracing::info!(%session, reason, "a session ends");
    handle.disconnect(session).await;
}

/// Waits for the first message of a stream: which session it is for.
async fn opened(reports: &mut Streaming<pb::Report>) -> Result<SessionId, Status> {
    let first = tokio::time::timeout(OPEN_TIMEOUT, reports.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the stream did not say which session it is for"))??;
    let first = first.ok_or_else(|| Status::invalid_argument("the stream ended before it began"))?;
    match words::upward_from_pb(first).map_err(|error| Status::invalid_argument(error.to_string()))? {
        Upward::Open(session) => Ok(SessionId(session)),
        Upward::Report(..) => Err(Status::invalid_argument("the first message must be `open`")),
    }
}

/// Hands a worker's reports to the driver until the stream ends; why it did.
async fn receive(mut reports: Streaming<pb::Report>, session: SessionId, handle: &Handle) -> String {
    loop {
        let message = match reports.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it was closed".to_owned(),
            Err(status) => return status.message().to_owned(),
        };
        match words::upward_from_pb(message) {
            Ok(Upward::Report(report, output)) => {
                if handle.report(session, report, output).await.is_err() {
                    return "the master is stopping".to_owned();
                }
            }
            Ok(Upward::Open(_)) => tracing::warn!(%session, "a stream was opened twice"),
            Err(error) => tracing::warn!(%session, %error, "a report was passed over"),
        }
    }
}

/// A session's id that cannot be guessed and is never used twice.
fn new_session() -> Result<SessionId, Status> {
    let id = getrandom::u64().map_err(|error| Status::internal(format!("no random numbers: {error}")))?;
    Ok(SessionId(id))
}

/// Why a worker has no session, or no stream.
fn not_joined(answer: &Answer) -> Status {
    match answer {
        Answer::Refused(refusal) => refused(*refusal),
        Answer::Submitted(_)
        | Answer::Repeated(_)
        | Answer::KeyTaken(_)
        | Answer::QueueFull
        | Answer::Done
        | Answer::Joined { .. }
        | Answer::NotLive => Status::internal(format!("the master has a defect: it answered {answer:?}")),
    }
}
