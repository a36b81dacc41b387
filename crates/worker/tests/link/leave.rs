//! Workers that are being stopped, with a master and without one.

use std::time::Duration;

use sortie_engine::{End, Report};
use sortie_wire::node::Upward;
use sortie_worker::{Config, run};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::common::*;

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
    assert_eq!(stream.expect(ended(attempt, End::Exited(0))).await, output("done\n", ""));
    stream.drain().await;
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
    stream.expect(ended(attempt, End::WorkerStopped)).await;
    assert!(is_gone(&pid));
    stream.drain().await;
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
async fn a_worker_that_leaves_waits_until_every_end_is_on_record() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, "echo out").await;
    stream.hear(Report::Started(attempt)).await;
    stream.hear(ended(attempt, End::Exited(0))).await;
    worker.stop.cancel();
    stream.hear(Report::Leaving).await;
    stream.drain().await;
    stream.cut().await;
    let (presented, mut stream) = master.admit_with(welcome()).await;
    assert_eq!(presented, [held(1, 0, true)]);
    assert_eq!(stream.hear(ended(attempt, End::Exited(0))).await, output("out\n", ""));
    stream.hear(Report::Leaving).await;
    stream.drain().await;
    stream.acknowledge(1).await;
    assert_eq!(stream.upward().await, None);
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_that_loses_its_session_while_it_leaves_goes_on_leaving() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let (line, go) = worker.waiter("first");
    let attempt = stream.start(1, &line).await;
    stream.hear(Report::Started(attempt)).await;
    worker.stop.cancel();
    stream.hear(Report::Leaving).await;
    stream.cut().await;
    let (presented, mut stream) = master.admit_with(welcome()).await;
    assert_eq!(presented, [held(1, 1, true)]);
    stream.hear(Report::Leaving).await;
    stream.drain().await;
    std::fs::write(go, "").expect("a fact");
    assert_eq!(stream.expect(ended(attempt, End::Exited(0))).await, output("begun\ndone\n", ""));
    assert_eq!(stream.upward().await, None);
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_that_is_stopped_without_a_session_stops_its_commands_and_tells_a_master_that_is_back() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    let pid = worker.pid("first").await;
    stream.hear(Report::Started(attempt)).await;
    stream.cut().await;
    let unanswered = master.hello().await;
    worker.stop.cancel();
    until(|| is_gone(&pid)).await;
    drop(unanswered);
    let (_, mut stream) = master.admit_with(welcome()).await;
    let (mut ended, mut leaving) = (false, false);
    while !(ended && leaving) {
        match stream.upward().await {
            Some(Upward::Report(Report::Leaving, None)) => leaving = true,
            Some(Upward::Report(Report::Ended(found, End::WorkerStopped, _), Some(_))) => ended = found == attempt,
            other => panic!("{other:?}"),
        }
    }
    stream.acknowledge(1).await;
    stream.drain().await;
    assert_eq!(stream.upward().await, None);
    drop(stream);
    worker.end().await.expect("a clean end");
}

#[tokio::test]
async fn a_worker_whose_master_never_comes_back_ends_all_the_same() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    stream.start(1, &worker.sleeper("first")).await;
    let pid = worker.pid("first").await;
    stream.hear(Report::Started(attempt(1))).await;
    stream.cut().await;
    let _unanswered = master.hello().await;
    worker.stop.cancel();
    worker.end().await.expect("a clean end");
    assert!(is_gone(&pid));
}
