//! What a worker runs outlives its sessions, and not its lease.

use std::time::Duration;

use sortie_engine::{End, Report};
use sortie_wire::node::Upward;
use sortie_wire::pb;
use tonic::Status;

use crate::common::*;

const LEASE: Duration = Duration::from_millis(500);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_runs_outlives_its_session() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let (line, go) = worker.waiter("first");
    let attempt = stream.start(1, &line).await;
    stream.hear(Report::Started(attempt)).await;
    let pid = worker.pid("first").await;
    stream.cut().await;
    let (presented, mut stream) = master.admit_with(welcome()).await;
    assert_eq!(presented, [held(1, 1, true)]);
    assert!(!is_gone(&pid), "it goes on");
    std::fs::write(go, "").expect("a fact");
    assert_eq!(stream.expect(ended(attempt, End::Exited(0))).await, output("begun\ndone\n", ""));
    assert_eq!(worker.pid("first").await, pid, "it was not started again");
}

#[tokio::test]
async fn what_ends_without_a_session_is_told_in_the_next() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let (line, go) = worker.waiter("first");
    let attempt = stream.start(1, &line).await;
    stream.hear(Report::Started(attempt)).await;
    let pid = worker.pid("first").await;
    stream.cut().await;
    let hello = master.hello().await;
    std::fs::write(go, "").expect("a fact");
    until(|| is_gone(&pid)).await;
    hello.answer(Ok(welcome()));
    let mut stream = master.stream().await;
    assert_eq!(stream.expect(ended(attempt, End::Exited(0))).await, output("begun\ndone\n", ""));
}

#[tokio::test]
async fn an_end_is_told_until_it_is_acknowledged() {
    let mut master = Master::start().await;
    let _worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    for number in [1, 2] {
        let attempt = stream.start(number, "echo out").await;
        stream.hear(Report::Started(attempt)).await;
        stream.hear(ended(attempt, End::Exited(0))).await;
    }
    let pb::order::Order::Start(large) = start(3, "true") else { panic!("a start") };
    stream.order(pb::order::Order::Start(pb::Start { slots: 4, ..large })).await;
    stream.hear(ended(attempt(3), End::Refused)).await;
    stream.acknowledge(2).await;
    stream.cut().await;
    let (presented, mut stream) = master.admit_with(welcome()).await;
    assert_eq!(presented, [held(1, 0, true), held(3, 0, false)]);
    stream.order(start(1, "echo again")).await;
    assert_eq!(stream.expect(ended(attempt(1), End::Exited(0))).await, output("out\n", ""));
    stream.expect(ended(attempt(3), End::Refused)).await;
    let fourth = stream.start(4, "true").await;
    stream.expect(Report::Started(fourth)).await;
}

#[tokio::test]
async fn what_the_master_has_given_up_is_killed_and_forgotten() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    let over = stream.start(2, "true").await;
    stream.hear(Report::Started(over)).await;
    stream.hear(ended(over, End::Exited(0))).await;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.hear(Report::Started(attempt)).await;
    let pid = worker.pid("first").await;
    stream.cut().await;
    let kill = [7, 2, 1].into_iter().filter_map(attempt_pb).collect();
    let mut stream = master.admit_with(pb::ReportStatusResponse { kill, ..welcome() }).await.1;
    until(|| is_gone(&pid)).await;
    // Its room is the master's again only when it is told that it is gone.
    stream.expect(ended(attempt, End::Stopped)).await;
    let third = stream.start(3, "true").await;
    stream.expect(Report::Started(third)).await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_what_runs_and_the_session() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit_with(leased(LEASE, HEARTBEAT_INTERVAL)).await.1;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.hear(Report::Started(attempt)).await;
    let hello = master.hello().await;
    assert_eq!(hello.request.held.len(), 1);
    hello.answer(Ok(welcome()));
    let mut next = master.stream().await;
    next.expect(ended(attempt, End::LeaseEnded)).await;
}

#[tokio::test]
async fn a_worker_whose_name_is_taken_kills_when_its_lease_ends() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit_with(leased(LEASE, HEARTBEAT_INTERVAL)).await.1;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.hear(Report::Started(attempt)).await;
    stream.cut().await;
    let hello = loop {
        let hello = master.hello().await;
        if hello.request.held == [held(1, 0, true)] {
            break hello;
        }
        hello.answer(Err(Status::already_exists("`alpha` is connected")));
    };
    hello.answer(Ok(welcome()));
    master.stream().await.expect(ended(attempt, End::LeaseEnded)).await;
}

#[tokio::test]
async fn renewals_keep_what_runs_alive() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit_with(leased(LEASE, HEARTBEAT_INTERVAL)).await.1;
    let attempt = stream.start(1, &worker.sleeper("first")).await;
    stream.hear(Report::Started(attempt)).await;
    let first = stream.heartbeat().await;
    while stream.heartbeat().await.since(first) < 4 * LEASE {}
    stream.order(stop(1)).await;
    stream.expect(ended(attempt, End::Stopped)).await;
}

#[tokio::test]
async fn a_worker_that_nobody_reads_runs_on_and_its_heartbeats_pass_its_reports_by() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit_with(leased(2 * PATIENCE, Duration::from_millis(10))).await.1;
    // More than the windows of the connection hold: the reports must wait in the worker.
    for number in 1..=9 {
        let file = worker.dir.path().join(number.to_string());
        stream.start(number, &format!("head -c 1000000 /dev/zero; : > {}", file.display())).await;
        until(|| file.exists()).await;
        let used = worker.dir.path().join(format!("data/attempts/42.17.{number}"));
        until(|| !used.exists()).await;
    }
    let (mut kept, mut beats) = (Vec::new(), 0);
    while kept.len() < 9 {
        match stream.message().await {
            // The first ones were sent before there was anything to wait behind.
            Some(Upward::Report(Report::Heartbeat { .. }, None)) => beats += usize::from(!kept.is_empty()),
            Some(Upward::Report(Report::Ended(_, End::Exited(0), _), Some(output))) => kept.push(output.stdout),
            other => assert!(matches!(other, Some(Upward::Report(Report::Started(_), None))), "{other:?}"),
        }
    }
    assert!(kept.iter().all(|stdout| (stdout.bytes.len(), stdout.dropped) == (1_000_000, 0)));
    assert!(beats > 0, "all heartbeats waited for the outputs");
}
