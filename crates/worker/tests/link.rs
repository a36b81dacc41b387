//! A worker against a master that a test plays by hand.

use std::path::Path;
use std::time::Duration;

use sortie_engine::{AttemptId, Captured, End, JobId, Output, Report};
use sortie_wire::node::{Upward, upward_from_pb};
use sortie_wire::pb;
use sortie_wire::pb::node_service_server::{NodeService, NodeServiceServer};
use sortie_worker::{Config, Error, run};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long a fact may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

const SESSION: u64 = 0x5e55_1011;

type Welcome = Result<pb::ReportStatusResponse, Status>;

/// The master's two calls, handed to the test one by one.
struct Calls {
    hellos: mpsc::Sender<pb::ReportStatusRequest>,
    welcomes: Mutex<mpsc::Receiver<Welcome>>,
    streams: mpsc::Sender<Stream>,
}

/// One AssignTask call, as the master has it. Dropped, it ends the call.
struct Stream {
    reports: Streaming<pb::Report>,
    orders: mpsc::Sender<Result<pb::Order, Status>>,
}

#[tonic::async_trait]
impl NodeService for Calls {
    type AssignTaskStream = ReceiverStream<Result<pb::Order, Status>>;

    async fn report_status(
        &self,
        request: Request<pb::ReportStatusRequest>,
    ) -> Result<Response<pb::ReportStatusResponse>, Status> {
        let gone = || Status::unavailable("the test is over");
        self.hellos.send(request.into_inner()).await.map_err(|_| gone())?;
        self.welcomes.lock().await.recv().await.unwrap_or_else(|| Err(gone())).map(Response::new)
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

struct Master {
    url: String,
    hellos: mpsc::Receiver<pb::ReportStatusRequest>,
    welcomes: mpsc::Sender<Welcome>,
    streams: mpsc::Receiver<Stream>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Master {
    async fn start() -> Self {
        Master::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (hellos_tx, hellos) = mpsc::channel(16);
        let (welcomes, welcomes_rx) = mpsc::channel(16);
        let (streams_tx, streams) = mpsc::channel(16);
        let calls = Calls { hellos: hellos_tx, welcomes: Mutex::new(welcomes_rx), streams: streams_tx };
        let service = NodeServiceServer::new(calls).max_decoding_message_size(sortie_wire::MAX_MESSAGE_BYTES);
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Master { url, hellos, welcomes, streams, server }
    }

    async fn answer(&self, welcome: Welcome) {
        self.welcomes.send(welcome).await.expect("the server lives");
    }

    async fn hello(&mut self) -> pb::ReportStatusRequest {
        within(self.hellos.recv()).await.expect("the server lives")
    }

    /// Lets a worker in, and checks that it opens its stream as it must.
    async fn admit(&mut self) -> Stream {
        self.answer(Ok(pb::ReportStatusResponse { session: SESSION, version: "1.2.3".to_owned() })).await;
        self.hello().await;
        let mut stream = within(self.streams.recv()).await.expect("the server lives");
        assert_eq!(stream.upward().await, Some(Upward::Open(SESSION)));
        stream
    }
}

impl Stream {
    /// The worker's next message; nothing when it has ended the stream.
    async fn upward(&mut self) -> Option<Upward> {
        let message = within(self.reports.message()).await.expect("a whole stream");
        message.map(|message| upward_from_pb(message).expect("a message that fits"))
    }

    async fn expect(&mut self, report: Report) -> Option<Output> {
        match self.upward().await {
            Some(Upward::Report(found, output)) => {
                assert_eq!(found, report);
                output
            }
            other @ (None | Some(Upward::Open(_))) => panic!("{other:?}"),
        }
    }

    async fn order(&self, order: pb::order::Order) {
        self.orders.send(Ok(pb::Order { order: Some(order) })).await.expect("the worker listens");
    }

    async fn start(&self, number: u32, cmd: &str) -> AttemptId {
        self.order(start(number, cmd)).await;
        attempt(number)
    }
}

/// A running worker, and the directory where its commands leave facts.
struct Worker {
    dir: TempDir,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Worker {
    fn start(url: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config(url, dir.path()), "9.8.7".to_owned(), stop.clone()));
        Worker { dir, stop, task }
    }

    /// A command that says where it runs, and stays; only KILL ends it before its time.
    fn sleeper(&self, name: &str) -> String {
        format!("trap '' TERM; echo $$ > {}/{name}; exec sleep 300", self.dir.path().display())
    }

    async fn pid(&self, name: &str) -> String {
        let file = self.dir.path().join(name);
        let read = || std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        until(|| !read().is_empty()).await;
        read()
    }

    async fn end(self) -> Result<(), Error> {
        within(self.task).await.expect("no panic")
    }
}

fn config(url: &str, dir: &Path) -> Config {
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

fn attempt(number: u32) -> AttemptId {
    JobId(42).task(17).attempt(number)
}

fn attempt_pb(number: u32) -> Option<pb::Attempt> {
    Some(pb::Attempt { job: 42, index: 17, number })
}

fn start(number: u32, cmd: &str) -> pb::order::Order {
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

fn stop(number: u32) -> pb::order::Order {
    pb::order::Order::Stop(pb::Stop { attempt: attempt_pb(number) })
}

fn output(stdout: &str, stderr: &str) -> Option<Output> {
    let captured = |text: &str| Captured { bytes: text.into(), dropped: 0 };
    Some(Output { stdout: captured(stdout), stderr: captured(stderr) })
}

async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.expect("the fact in time")
}

async fn until(fact: impl Fn() -> bool) {
    within(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Whether no such process runs; a zombie does not.
fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

#[tokio::test]
async fn a_worker_introduces_itself_runs_and_reports() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let hello = master.hello().await;
    assert_eq!((hello.name.as_str(), hello.version.as_str(), hello.slots), ("alpha", "9.8.7", 3));
    assert_eq!((hello.protocol, hello.labels), (1, [("zone".to_owned(), "a".to_owned())].into()));
    assert!(hello.instance.len() == 16, "{}", hello.instance);
    master.answer(Ok(pb::ReportStatusResponse { session: SESSION, version: String::new() })).await;
    let mut stream = within(master.streams.recv()).await.expect("a stream");
    assert_eq!(stream.upward().await, Some(Upward::Open(SESSION)));

    let first = stream.start(1, "echo out; echo err >&2; exit 3").await;
    stream.expect(Report::Started(first)).await;
    let wrote = stream.expect(Report::Ended(first, End::Exited(3))).await;
    assert_eq!(wrote, output("out\n", "err\n"));

    let second = stream.start(2, &worker.sleeper("second")).await;
    stream.expect(Report::Started(second)).await;
    let pid = worker.pid("second").await;
    stream.order(stop(2)).await;
    stream.expect(Report::Ended(second, End::Stopped)).await;
    assert!(is_gone(&pid));
}

#[tokio::test]
async fn orders_that_do_not_fit_are_passed_over() {
    let mut master = Master::start().await;
    let _worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    stream.orders.send(Ok(pb::Order { order: None })).await.expect("the worker listens");
    stream.order(pb::order::Order::Start(pb::Start::default())).await;
    stream.order(stop(7)).await;
    stream.order(pb::order::Order::Drain(pb::Drain {})).await;
    let forever = sortie_wire::duration_to_pb(Duration::MAX);
    let pb::order::Order::Start(long) = start(1, "true") else { panic!("a start") };
    stream.order(pb::order::Order::Start(pb::Start { timeout: Some(forever), ..long.clone() })).await;
    stream.expect(Report::Started(attempt(1))).await;
    stream.expect(Report::Ended(attempt(1), End::Exited(0))).await;
    let order = pb::order::Order::Start(pb::Start { attempt: attempt_pb(2), slots: 4, ..long });
    stream.order(order).await;
    stream.expect(Report::Ended(attempt(2), End::Refused)).await;
}

#[tokio::test]
async fn a_timeout_ends_a_command_and_its_output_is_kept() {
    let mut master = Master::start().await;
    let _worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let pb::order::Order::Start(order) = start(1, "echo before; exec sleep 300") else { panic!("a start") };
    let timeout = Some(sortie_wire::duration_to_pb(Duration::from_secs(1)));
    stream.order(pb::order::Order::Start(pb::Start { timeout, ..order })).await;
    stream.expect(Report::Started(attempt(1))).await;
    assert_eq!(stream.expect(Report::Ended(attempt(1), End::TimedOut)).await, output("before\n", ""));
}

#[tokio::test]
async fn a_worker_kills_and_comes_back_when_its_stream_is_cut() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let stream = master.admit().await;
    stream.start(1, &worker.sleeper("first")).await;
    let pid = worker.pid("first").await;
    stream.orders.send(Err(Status::aborted("superseded"))).await.expect("the worker listens");
    drop(stream);
    let mut stream = master.admit().await;
    assert!(is_gone(&pid), "before the worker came back");
    let second = stream.start(2, "true").await;
    stream.expect(Report::Started(second)).await;
    stream.expect(Report::Ended(second, End::Exited(0))).await;
}

#[tokio::test]
async fn a_worker_outlives_its_master() {
    let master = Master::start().await;
    let address = master.url.strip_prefix("http://").expect("an address").to_owned();
    master.server.abort();
    within(master.server).await.expect_err("aborted");
    let worker = Worker::start(&master.url);
    let mut master = Master::at(&address).await;
    let stream = master.admit().await;
    worker.stop.cancel();
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_that_leaves_lets_commands_end_and_tells_it() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let go = worker.dir.path().join("go");
    let attempt = stream.start(1, &format!("until [ -e {} ]; do sleep 0.01; done; echo done", go.display())).await;
    stream.expect(Report::Started(attempt)).await;
    worker.stop.cancel();
    stream.expect(Report::Leaving).await;
    std::fs::write(go, "").expect("a fact");
    assert_eq!(stream.expect(Report::Ended(attempt, End::Exited(0))).await, output("done\n", ""));
    stream.order(pb::order::Order::Drain(pb::Drain {})).await;
    assert_eq!(stream.upward().await, None, "the worker ends the stream");
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_that_leaves_stops_what_does_not_end() {
    let mut master = Master::start().await;
    let dir = TempDir::new().expect("a directory");
    let stop = CancellationToken::new();
    let config = Config { stop_timeout: Duration::from_millis(1), ..config(&master.url, dir.path()) };
    let task = tokio::spawn(run(config, String::new(), stop.clone()));
    let worker = Worker { dir, stop, task };
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.expect(Report::Started(attempt)).await;
    let pid = worker.pid("first").await;
    worker.stop.cancel();
    stream.expect(Report::Leaving).await;
    stream.expect(Report::Ended(attempt, End::WorkerStopped)).await;
    assert!(is_gone(&pid));
    stream.order(pb::order::Order::Drain(pb::Drain {})).await;
    assert_eq!(stream.upward().await, None);
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_without_a_session_stops_at_once() {
    let dir = TempDir::new().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let worker = Worker { dir, ..Worker::start(&url) };
    let _silent = within(listener.accept()).await.expect("a connection");
    worker.stop.cancel();
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_name_that_is_taken_is_tried_again_and_a_bad_one_is_not() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    master.answer(Err(Status::already_exists("`alpha` is connected"))).await;
    let first = master.hello().await;
    master.answer(Err(Status::invalid_argument("no such name"))).await;
    assert_eq!(master.hello().await.instance, first.instance);
    let error = worker.end().await.expect_err("refused");
    assert_eq!(error.to_string(), "the master refuses the worker `alpha`: no such name");
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    for url in ["", "127.0.0.1:50051", "ftp://host:1", "http://", "https://host:1", "http://a b"] {
        let worker = Worker::start(url);
        assert!(matches!(worker.end().await, Err(Error::Url { .. })), "{url:?}");
    }
}

#[tokio::test]
async fn a_worker_that_is_dropped_kills() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.expect(Report::Started(attempt)).await;
    let pid = worker.pid("first").await;
    worker.task.abort();
    worker.task.await.expect_err("aborted");
    until(|| is_gone(&pid)).await;
}

#[tokio::test]
async fn a_worker_that_nobody_reads_runs_on() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    // More than the windows of the connection hold: the reports must wait in the worker.
    for number in 1..=9 {
        let file = worker.dir.path().join(number.to_string());
        stream.start(number, &format!("head -c 1000000 /dev/zero; : > {}", file.display())).await;
        until(|| file.exists()).await;
        let used = worker.dir.path().join(format!("data/attempts/42.17.{number}"));
        until(|| !used.exists()).await;
    }
    let mut kept = Vec::new();
    while kept.len() < 9 {
        match stream.upward().await {
            Some(Upward::Report(Report::Ended(_, End::Exited(0)), Some(output))) => kept.push(output.stdout),
            other => assert!(matches!(other, Some(Upward::Report(Report::Started(_), None))), "{other:?}"),
        }
    }
    assert!(kept.iter().all(|stdout| (stdout.bytes.len(), stdout.dropped) == (1_000_000, 0)));
}
