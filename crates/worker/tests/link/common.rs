//! A master that a test plays by hand, and a worker that it plays with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sortie_engine::{AttemptId, Captured, End, JobId, Output, Report, Time};
use sortie_wire::node::{Upward, upward_from_pb};
use sortie_wire::pb;
use sortie_wire::pb::node_service_server::{NodeService, NodeServiceServer};
use sortie_worker::{Config, Error, run};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long a fact may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const SESSION: u64 = 0x5e55_1011;

type Welcome = Result<pb::ReportStatusResponse, Status>;

/// The master's two calls, handed to the test one by one.
struct Calls {
    hellos: mpsc::Sender<Hello>,
    streams: mpsc::Sender<Stream>,
}

/// One ReportStatus call, as the master has it.
pub(crate) struct Hello {
    pub(crate) request: pb::ReportStatusRequest,
    answer: oneshot::Sender<Welcome>,
}

/// One AssignTask call, as the master has it. Dropped, it ends the call.
pub(crate) struct Stream {
    reports: Streaming<pb::Report>,
    pub(crate) orders: mpsc::Sender<Result<pb::Order, Status>>,
}

#[tonic::async_trait]
impl NodeService for Calls {
    type AssignTaskStream = ReceiverStream<Result<pb::Order, Status>>;

    async fn report_status(
        &self,
        request: Request<pb::ReportStatusRequest>,
    ) -> Result<Response<pb::ReportStatusResponse>, Status> {
        let gone = || Status::unavailable("the test is over");
        let (answer, welcome) = oneshot::channel();
        self.hellos.send(Hello { request: request.into_inner(), answer }).await.map_err(|_| gone())?;
        welcome.await.unwrap_or_else(|_| Err(gone())).map(Response::new)
    }

    async fn assign_task(
        &self,
        request: Request<Streaming<pb::Report>>,
    ) -> Result<Response<Self::AssignTaskStream>, Status> {
        let (orders, waiting) = mpsc::channel(16);
        let stream = Stream { reports: request.into_inner(), orders };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(waiting)))
    }
}

pub(crate) struct Master {
    pub(crate) url: String,
    hellos: mpsc::Receiver<Hello>,
    streams: mpsc::Receiver<Stream>,
    pub(crate) server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Master {
    pub(crate) async fn start() -> Self {
        Master::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (hellos_tx, hellos) = mpsc::channel(16);
        let (streams_tx, streams) = mpsc::channel(16);
        let calls = Calls { hellos: hellos_tx, streams: streams_tx };
        let service = NodeServiceServer::new(calls).max_decoding_message_size(sortie_wire::MAX_MESSAGE_BYTES);
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Master { url, hellos, streams, server }
    }

    pub(crate) async fn hello(&mut self) -> Hello {
        within(self.hellos.recv()).await.expect("the server lives")
    }

    /// Lets a worker in for a lease that no test outlives.
    pub(crate) async fn admit(&mut self) -> Stream {
        self.admit_with(welcome()).await.1
    }

    /// Lets a worker in; what it presents, and its stream.
    pub(crate) async fn admit_with(&mut self, welcome: pb::ReportStatusResponse) -> (Vec<pb::HeldAttempt>, Stream) {
        let hello = self.hello().await;
        hello.answer.send(Ok(welcome)).expect("the worker waits");
        (hello.request.held, self.stream().await)
    }

    /// A worker's stream, opened as it must be.
    pub(crate) async fn stream(&mut self) -> Stream {
        let mut stream = within(self.streams.recv()).await.expect("the server lives");
        assert_eq!(stream.message().await, Some(Upward::Open(SESSION)));
        stream
    }
}

impl Hello {
    pub(crate) fn answer(self, welcome: Welcome) {
        self.answer.send(welcome).expect("the worker waits");
    }
}

impl Stream {
    /// The worker's next message; nothing when it has ended the stream.
    pub(crate) async fn message(&mut self) -> Option<Upward> {
        let message = within(self.reports.message()).await.expect("a whole stream");
        message.map(|message| upward_from_pb(message).expect("a message that fits"))
    }

    /// The worker's next message that is no heartbeat. Heartbeats are answered.
    pub(crate) async fn upward(&mut self) -> Option<Upward> {
        loop {
            match self.message().await {
                Some(Upward::Report(Report::Heartbeat { sent }, None)) => self.renew(sent).await,
                other => return other,
            }
        }
    }

    /// The worker's next message, which is a heartbeat; it is answered.
    pub(crate) async fn heartbeat(&mut self) -> Time {
        match self.message().await {
            Some(Upward::Report(Report::Heartbeat { sent }, None)) => {
                self.renew(sent).await;
                sent
            }
            other => panic!("{other:?}"),
        }
    }

    /// The worker's next report, which is left without an acknowledgement.
    pub(crate) async fn hear(&mut self, report: Report) -> Option<Output> {
        match self.upward().await {
            Some(Upward::Report(found, output)) => {
                assert_eq!(without_usage(found), report);
                output
            }
            other @ (None | Some(Upward::Open(_))) => panic!("{other:?}"),
        }
    }

    /// The worker's next report; an end is acknowledged.
    pub(crate) async fn expect(&mut self, report: Report) -> Option<Output> {
        let output = self.hear(report.clone()).await;
        if let Report::Ended(attempt, ..) = report {
            self.acknowledge(attempt.number).await;
        }
        output
    }

    pub(crate) async fn order(&self, order: pb::order::Order) {
        self.orders.send(Ok(pb::Order { order: Some(order) })).await.expect("the worker listens");
    }

    pub(crate) async fn acknowledge(&self, number: u32) {
        self.order(pb::order::Order::Acknowledge(attempt_pb(number).expect("an attempt"))).await;
    }

    pub(crate) async fn drain(&self) {
        self.order(pb::order::Order::Drain(pb::Drain {})).await;
    }

    /// The answer may find the worker gone.
    pub(crate) async fn renew(&self, sent: Time) {
        let order = pb::order::Order::Renew(pb::Heartbeat { sent_ms: sent.0 });
        _ = self.orders.send(Ok(pb::Order { order: Some(order) })).await;
    }

    pub(crate) async fn start(&self, number: u32, cmd: &str) -> AttemptId {
        self.order(start(number, cmd)).await;
        attempt(number)
    }

    /// Ends the stream with an error, after all orders.
    pub(crate) async fn cut(self) {
        self.orders.send(Err(Status::aborted("superseded"))).await.expect("the worker listens");
    }
}

/// A running worker, and the directory where its commands leave facts.
pub(crate) struct Worker {
    pub(crate) dir: TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

impl Worker {
    pub(crate) fn start(url: &str) -> Self {
        Worker::start_in(TempDir::new().expect("a directory"), url)
    }

    pub(crate) fn start_in(dir: TempDir, url: &str) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config(url, dir.path()), "9.8.7".to_owned(), stop.clone()));
        Worker { dir, stop, task }
    }

    /// A command that says where it runs, and stays until a file is there.
    pub(crate) fn waiter(&self, name: &str) -> (String, PathBuf) {
        let dir = self.dir.path();
        let go = dir.join(format!("{name}.go"));
        let said = dir.join(name);
        let line = format!(
            "echo begun; echo $$ > {}; until [ -e {} ]; do sleep 0.01; done; echo done",
            said.display(),
            go.display()
        );
        (line, go)
    }

    /// A command that says where it runs, and stays; only KILL ends it before its time.
    pub(crate) fn sleeper(&self, name: &str) -> String {
        format!("trap '' TERM; echo $$ > {}/{name}; exec sleep 300", self.dir.path().display())
    }

    pub(crate) async fn pid(&self, name: &str) -> String {
        let file = self.dir.path().join(name);
        let read = || std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        until(|| !read().is_empty()).await;
        read()
    }

    pub(crate) async fn end(self) -> Result<(), Error> {
        within(self.task).await.expect("no panic")
    }
}

pub(crate) fn config(url: &str, dir: &Path) -> Config {
    Config {
        master_url: url.to_owned(),
        name: "alpha".to_owned(),
        slots: 3,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        data_dir: dir.join("data"),
        reconnect_max: Duration::from_millis(50),
        ..Config::default()
    }
}

pub(crate) fn attempt(number: u32) -> AttemptId {
    JobId(42).task(17).attempt(number)
}

pub(crate) fn attempt_pb(number: u32) -> Option<pb::Attempt> {
    Some(pb::Attempt { job: 42, index: 17, number })
}

/// A lease that no test outlives.
pub(crate) fn welcome() -> pb::ReportStatusResponse {
    leased(2 * PATIENCE, Duration::from_secs(1))
}

pub(crate) fn leased(lease: Duration, heartbeat_interval: Duration) -> pb::ReportStatusResponse {
    pb::ReportStatusResponse {
        session: SESSION,
        version: "1.2.3".to_owned(),
        lease: Some(sortie_wire::duration_to_pb(lease)),
        heartbeat_interval: Some(sortie_wire::duration_to_pb(heartbeat_interval)),
        kill: Vec::new(),
    }
}

/// An attempt's end, as it is compared here: with nothing of what it used.
pub(crate) fn ended(attempt: AttemptId, end: End) -> Report {
    Report::Ended(attempt, end, None)
}

/// What a command used is told if one ran, and differs from run to run.
fn without_usage(report: Report) -> Report {
    match report {
        Report::Ended(attempt, end, usage) => {
            let ran = !matches!(end, End::Refused | End::CouldNotStart { .. } | End::Abandoned);
            assert_eq!(usage.is_some(), ran, "{end:?}");
            ended(attempt, end)
        }
        Report::Started(_) | Report::Leaving | Report::Heartbeat { .. } => report,
    }
}

/// An attempt as a worker presents it.
pub(crate) fn held(number: u32, slots: u32, started: bool) -> pb::HeldAttempt {
    pb::HeldAttempt { attempt: attempt_pb(number), slots, started }
}

pub(crate) fn start(number: u32, cmd: &str) -> pb::order::Order {
    let duration = |duration| Some(sortie_wire::duration_to_pb(duration));
    pb::order::Order::Start(pb::Start {
        attempt: attempt_pb(number),
        command: Some(pb::start::Command::Cmd(cmd.to_owned())),
        timeout: duration(PATIENCE),
        kill_grace: duration(Duration::from_millis(1)),
        slots: 1,
        ..pb::Start::default()
    })
}

pub(crate) fn stop(number: u32) -> pb::order::Order {
    pb::order::Order::Stop(pb::Stop { attempt: attempt_pb(number) })
}

pub(crate) fn output(stdout: &str, stderr: &str) -> Option<Output> {
    let captured = |text: &str| Captured { bytes: text.into(), dropped: 0 };
    Some(Output { stdout: captured(stdout), stderr: captured(stderr) })
}

pub(crate) async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.expect("the fact in time")
}

pub(crate) async fn until(fact: impl Fn() -> bool) {
    within(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Whether no such process runs; a zombie does not.
pub(crate) fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}
