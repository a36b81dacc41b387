//! The way to the master: introducing this worker, and coming back when the connection is lost.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use sortie_engine::Hello;
use sortie_wire::node::{hello_to_pb, open_to_pb};
use sortie_wire::pb::node_service_client::NodeServiceClient;
use sortie_wire::{MAX_MESSAGE_BYTES, pb};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_retry2::strategy::{ExponentialBackoff, jitter_with_bounds};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::{Config, Error};

/// How long one try to open a session may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a silent master is asked for a sign of life, and how long it has to give one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many reports may wait for the connection to take them.
const MAX_REPORTS_WAITING: usize = 64;

/// The longest first wait between two tries, in milliseconds; each is at most twice the one before.
const FIRST_WAIT_MS: u64 = 100;

/// An open session with the master.
#[derive(Debug)]
pub(crate) struct Session {
    /// Reports up. Dropped, it ends the stream once all of them have been sent.
    pub(crate) reports: mpsc::Sender<pb::Report>,
    /// Orders down.
    pub(crate) orders: Streaming<pb::Order>,
    opened: Instant,
}

/// The way to one master.
#[derive(Debug)]
pub(crate) struct Link {
    endpoint: Endpoint,
    hello: Hello,
    backoff: ExponentialBackoff,
    reconnect_max: Duration,
    /// How long to wait before the next try.
    wait: Duration,
    /// What was last said about why there is no session.
    trouble: String,
}

/// Why a session could not be opened.
#[derive(Debug)]
enum Failure {
    /// Trying again may help.
    Trouble(String),
    /// The master will say the same again.
    Refused(String),
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
            backoff: backoff(config.reconnect_max),
            reconnect_max: config.reconnect_max,
            wait: Duration::ZERO,
            trouble: String::new(),
        })
    }

    /// Opens a session, for as many tries as it takes.
    ///
    /// # Errors
    /// When the master refuses this worker for good.
    pub(crate) async fn connect(&mut self) -> Result<Session, Error> {
        loop {
            tokio::time::sleep(self.wait).await;
            self.wait = self.next_wait();
            let timed_out = |_| Err(Failure::Trouble("the master does not answer".to_owned()));
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.try_connect()).await.unwrap_or_else(timed_out) {
                Ok(session) => {
                    self.trouble.clear();
                    return Ok(session);
                }
                Err(Failure::Trouble(trouble)) => self.tell(trouble),
                Err(Failure::Refused(reason)) => {
                    return Err(Error::Refused { name: self.hello.name.clone(), reason });
                }
            }
        }
    }

    /// A session has been lost. One that held for a while was a good one: its successor is tried soon again.
    pub(crate) fn lost(&mut self, opened: Instant, reason: &str) {
        tracing::warn!(reason, "the session with the master is lost");
        if opened.elapsed() >= self.reconnect_max {
            self.backoff = backoff(self.reconnect_max);
            self.wait = self.next_wait();
        }
    }

    async fn try_connect(&self) -> Result<Session, Failure> {
        let channel = self.endpoint.connect().await.map_err(unreachable)?;
        let mut client = client(channel);
        let welcome = client.report_status(hello_to_pb(self.hello.clone())).await.map_err(refused)?.into_inner();
        let (reports, waiting) = mpsc::channel(MAX_REPORTS_WAITING);
        // The master may not answer the call before it has read this; there is room for it.
        _ = reports.try_send(open_to_pb(welcome.session));
        let orders = client.assign_task(ReceiverStream::new(waiting)).await.map_err(trouble)?.into_inner();
        let session = format_args!("{:016x}", welcome.session).to_string();
        tracing::info!(session, version = welcome.version, worker = self.hello.name, "connected to the master");
        Ok(Session { reports, orders, opened: Instant::now() })
    }

    /// Says what is wrong, once for as long as it stays the same.
    fn tell(&mut self, trouble: String) {
        if self.trouble != trouble {
            tracing::warn!(url = %self.endpoint.uri(), "no session with the master: {trouble}; trying on");
            self.trouble = trouble;
        }
    }

    /// Full jitter, so that a fleet that lost its master does not come back all at once.
    fn next_wait(&mut self) -> Duration {
        let longest = self.backoff.next().unwrap_or(self.reconnect_max);
        jitter_with_bounds(0.0, 1.0)(longest)
    }
}

impl Session {
    /// When the session was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }
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

fn client(channel: Channel) -> NodeServiceClient<Channel> {
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

fn refused(status: Status) -> Failure {
    if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) {
        return Failure::Refused(status.message().to_owned());
    }
    trouble(status)
}

fn trouble(status: Status) -> Failure {
    Failure::Trouble(format!("{:?}: {}", status.code(), status.message()))
}
