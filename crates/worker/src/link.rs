//! The way to the master: introducing this worker, and coming back when the connection is lost.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use futures_util::stream::{PollNext, select_with_strategy};
use sortie_engine::{Held, Hello, Time};
use sortie_wire::node::{Welcome, hello_to_pb, open_to_pb, welcome_from_pb};
use sortie_wire::pb::node_service_client::NodeServiceClient;
use sortie_wire::{MAX_MESSAGE_BYTES, pb};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_retry2::strategy::{ExponentialBackoff, jitter_with_bounds};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::{Config, Error};

/// How long each step of opening a session may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a silent master is asked for a sign of life, and how long it has to give one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many reports may wait for the connection to take them.
const MAX_REPORTS_WAITING: usize = 64;

/// The shortest time between two heartbeats, whatever the master asks for.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(10);

/// The longest first wait between two tries, in milliseconds; each is at most twice the one before.
const FIRST_WAIT_MS: u64 = 100;

/// An open session with the master. Both ways up dropped, the stream ends once all that waits in them has been sent.
#[derive(Debug)]
pub(crate) struct Session {
    /// Heartbeats up, before all reports that wait: one that is late for its lease is worth nothing.
    pub(crate) heartbeats: mpsc::Sender<pb::Report>,
    /// Reports up.
    pub(crate) reports: mpsc::Sender<pb::Report>,
    /// Orders down.
    pub(crate) orders: Streaming<pb::Order>,
    /// When the next heartbeat is due, and how long after each the one after it is.
    pub(crate) next_heartbeat: Time,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) lease: Lease,
    pub(crate) opened: Instant,
}

/// For how long a session lives on without an answer from the master.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) length: Duration,
    pub(crate) end: Time,
}

/// A connection to the master on which nothing has been said yet.
pub(crate) type Client = NodeServiceClient<Channel>;

/// The way to one master.
#[derive(Debug)]
pub(crate) struct Link {
    endpoint: Endpoint,
    hello: Hello,
    /// How many times this process has introduced itself.
    introductions: u64,
    backoff: ExponentialBackoff,
    reconnect_max: Duration,
    /// How long to wait before the next try.
    wait: Duration,
    /// What was last said about why there is no session.
    trouble: String,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Trying again may help.
    Trouble(String),
    /// The master will say the same again.
    Refused(String),
    /// The worker has left before, and needs none any more.
    Left,
}

impl Link {
    /// The way to the master of `config`, for a worker of this version.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn new(config: &Config, version: String) -> Result<Self, Error> {
        let hello = Hello {
            name: config.name.clone(),
            instance: instance(),
            version,
            labels: config.labels.clone(),
            slots: config.slots,
        };
        Ok(Link {
            endpoint: endpoint(&config.master_url)?,
            hello,
            introductions: 0,
            backoff: backoff(config.reconnect_max),
            reconnect_max: config.reconnect_max,
            wait: Duration::ZERO,
            trouble: String::new(),
        })
    }

    /// Waits for as long as it takes from one try to the next.
    pub(crate) async fn pause(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(self.wait).await;
        self.wait = self.next_wait();
        Ok(())
    }

    /// Makes the next try at once, and those after it soon.
    pub(crate) fn hasten(&mut self) {
        self.backoff = backoff(self.reconnect_max);
        self.wait = Duration::ZERO;
    }

    /// Reaches the master.
    pub(crate) async fn dial(&self) -> Result<Client, Failure> {
        let channel = in_time(async { self.endpoint.connect().await.map_err(unreachable) }).await?;
        Ok(client(channel))
    }

    /// Introduces this worker, with the attempts that it holds.
    pub(crate) async fn introduce(&mut self, client: &mut Client, held: Vec<Held>) -> Result<Welcome, Failure> {
        self.introductions += 1;
        let hello = hello_to_pb(self.hello.clone(), self.introductions, held);
        let answer = in_time(async { client.report_status(hello).await.map_err(refused) }).await?;
        welcome_from_pb(answer.into_inner()).map_err(|malformed| Failure::Trouble(malformed.to_string()))
    }

    /// Opens the stream of the session that the master has granted to an introduction sent at `sent`.
    pub(crate) async fn open(&mut self, mut client: Client, welcome: &Welcome, sent: Time) -> Result<Session, Failure> {
        let (heartbeats, waiting_heartbeats) = mpsc::channel(1);
        let (reports, waiting_reports) = mpsc::channel(MAX_REPORTS_WAITING);
        // The master may not answer the call before it has read this; there is room for it, and nothing is before it.
        _ = heartbeats.try_send(open_to_pb(welcome.session));
        let first = |_: &mut ()| PollNext::Left;
        let up =
            select_with_strategy(ReceiverStream::new(waiting_heartbeats), ReceiverStream::new(waiting_reports), first);
        let orders = in_time(async { client.assign_task(up).await.map_err(trouble) }).await?.into_inner();
        let session = format_args!("{:016x}", welcome.session).to_string();
        tracing::info!(session, version = welcome.version, worker = self.hello.name, "connected to the master");
        self.trouble.clear();
        Ok(Session {
            heartbeats,
            reports,
            orders,
            next_heartbeat: sent,
            heartbeat_interval: welcome.heartbeat_interval.max(MIN_HEARTBEAT_INTERVAL),
            lease: Lease { length: welcome.lease, end: sent + welcome.lease },
            opened: Instant::now(),
        })
    }

    /// A session has been lost. One that held for a while was a good one: its successor is tried soon again.
    pub(crate) fn lost(&mut self, opened: Instant, reason: &str) {
        tracing::warn!(reason, "the session with the master is lost; what runs goes on until the lease ends");
        if opened.elapsed() >= self.reconnect_max {
            self.backoff = backoff(self.reconnect_max);
            self.wait = self.next_wait();
        }
    }

    /// Says what is wrong, once for as long as it stays the same.
    pub(crate) fn tell(&mut self, trouble: String) {
        if self.trouble != trouble {
            tracing::warn!(url = %self.endpoint.uri(), "no session with the master: {trouble}; trying on");
            self.trouble = trouble;
        }
    }

    /// The master will not have this worker.
    pub(crate) fn refused(&self, reason: String) -> Error {
        Error::Refused { name: self.hello.name.clone(), reason }
    }

    /// Full jitter, so that a fleet that lost its master does not come back all at once.
    fn next_wait(&mut self) -> Duration {
        let longest = self.backoff.next().unwrap_or(self.reconnect_max);
        jitter_with_bounds(0.0, 1.0)(longest)
    }
}

async fn in_time<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let timed_out = |_| Err(Failure::Trouble("the master does not answer".to_owned()));
    tokio::time::timeout(HANDSHAKE_TIMEOUT, step).await.unwrap_or_else(timed_out)
}

/// An error with all of its causes: the first of them alone says only `transport error`.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// An id that no other process of this worker has had.
fn instance() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let bad = |reason: String| Error::Url { url: url.to_owned(), reason };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(chain(&error)))?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none_or(str::is_empty) {
        return Err(bad("write http://, a host and a port, such as http://127.0.0.1:50051".to_owned()));
    }
    Ok(endpoint
        .connect_timeout(HANDSHAKE_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

fn client(channel: Channel) -> Client {
    NodeServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn backoff(max: Duration) -> ExponentialBackoff {
    ExponentialBackoff::from_millis(2).factor(FIRST_WAIT_MS / 2).max_delay(max)
}

fn unreachable(error: tonic::transport::Error) -> Failure {
    Failure::Trouble(chain(&error))
}

/// An introduction that a later one has overtaken (`ABORTED`) is trouble: the next one is later still.
fn refused(status: Status) -> Failure {
    if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) {
        return Failure::Refused(status.message().to_owned());
    }
    trouble(status)
}

fn trouble(status: Status) -> Failure {
    Failure::Trouble(format!("{:?}: {}", status.code(), status.message()))
}
