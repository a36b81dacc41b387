//! A worker against a master that a test plays by hand.

mod common;
mod lease;
mod leave;
mod restart;

use std::time::Duration;

use sortie_engine::{End, Report};
use sortie_wire::pb;
use sortie_worker::Error;
use tonic::Status;

use common::*;

#[tokio::test]
async fn a_worker_introduces_itself_runs_and_reports() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let hello = master.hello().await;
    let said = hello.request.clone();
    hello.answer(Ok(welcome()));
    assert_eq!((said.name.as_str(), said.version.as_str(), said.slots), ("alpha", "9.8.7", 3));
    assert_eq!((said.protocol, said.labels), (1, [("zone".to_owned(), "a".to_owned())].into()));
    assert!(said.instance.len() == 16, "{}", said.instance);
    assert_eq!(said.held, []);
    let mut stream = master.stream().await;

    let first = stream.start(1, "echo out; echo err >&2; exit 3").await;
    stream.expect(Report::Started(first)).await;
    let wrote = stream.expect(ended(first, End::Exited(3))).await;
    assert_eq!(wrote, output("out\n", "err\n"));

    let second = stream.start(2, &worker.sleeper("second")).await;
    stream.expect(Report::Started(second)).await;
    let pid = worker.pid("second").await;
    stream.order(stop(2)).await;
    stream.expect(ended(second, End::Stopped)).await;
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
    stream.drain().await;
    let forever = sortie_wire::duration_to_pb(Duration::MAX);
    let pb::order::Order::Start(long) = start(1, "true") else { panic!("a start") };
    stream.order(pb::order::Order::Start(pb::Start { timeout: Some(forever), ..long.clone() })).await;
    stream.expect(Report::Started(attempt(1))).await;
    stream.expect(ended(attempt(1), End::Exited(0))).await;
    let order = pb::order::Order::Start(pb::Start { attempt: attempt_pb(2), slots: 4, ..long });
    stream.order(order).await;
    stream.expect(ended(attempt(2), End::Refused)).await;
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
    assert_eq!(stream.expect(ended(attempt(1), End::TimedOut)).await, output("before\n", ""));
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
async fn a_name_that_is_taken_is_tried_again_and_a_bad_one_is_not() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let first = master.hello().await;
    let instance = first.request.instance.clone();
    first.answer(Err(Status::already_exists("`alpha` is connected")));
    let second = master.hello().await;
    assert_eq!(second.request.instance, instance);
    second.answer(Err(Status::invalid_argument("no such name")));
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
