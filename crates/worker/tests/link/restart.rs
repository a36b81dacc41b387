//! Workers whose process ends before they have told everything, and the next one of their data directory.

use sortie_engine::{End, Report};
use sortie_wire::pb;
use tonic::Status;

use crate::common::*;

/// Ends a worker as if its process had died, and starts the next one.
async fn restart(worker: Worker, url: &str) -> Worker {
    let Worker { dir, task, .. } = worker;
    task.abort();
    task.await.expect_err("aborted");
    Worker::start_in(dir, url)
}

#[tokio::test]
async fn what_a_dead_worker_had_not_told_is_told_by_the_next_until_it_is_acknowledged() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let mut stream = master.admit().await;
    for number in [1, 2] {
        let attempt = stream.start(number, &format!("echo {number}; exit {number}")).await;
        stream.hear(Report::Started(attempt)).await;
        stream.hear(ended(attempt, End::Exited(i32::try_from(number).expect("a small number")))).await;
    }
    stream.acknowledge(1).await;
    // Answered after the acknowledgement: that has arrived.
    stream.heartbeat().await;
    let pb::order::Order::Start(large) = start(3, "true") else { panic!("a start") };
    stream.order(pb::order::Order::Start(pb::Start { slots: 4, ..large })).await;
    stream.hear(ended(attempt(3), End::Refused)).await;
    let fourth = stream.start(4, &worker.sleeper("fourth")).await;
    stream.hear(Report::Started(fourth)).await;
    let pid = worker.pid("fourth").await;

    let worker = restart(worker, &master.url).await;
    let hello = master.hello().await;
    assert!(is_gone(&pid));
    assert_eq!(hello.request.held, [held(2, 0, true), held(3, 0, false), held(4, 0, false)]);
    hello.answer(Ok(welcome()));
    let mut stream = master.stream().await;
    assert_eq!(stream.hear(ended(attempt(2), End::Exited(2))).await, output("2\n", ""));
    stream.hear(ended(attempt(3), End::Refused)).await;
    stream.hear(ended(fourth, End::Abandoned)).await;
    stream.order(start(4, "echo again")).await;

    let worker = restart(worker, &master.url).await;
    let (presented, mut stream) = master.admit_with(welcome()).await;
    assert_eq!(presented, [held(2, 0, true), held(3, 0, false), held(4, 0, false)]);
    assert_eq!(stream.expect(ended(attempt(2), End::Exited(2))).await, output("2\n", ""));
    stream.expect(ended(attempt(3), End::Refused)).await;
    stream.expect(ended(fourth, End::Abandoned)).await;
    let fifth = stream.start(5, "true").await;
    stream.expect(Report::Started(fifth)).await;
    stream.expect(ended(fifth, End::Exited(0))).await;
    stream.heartbeat().await;

    let _worker = restart(worker, &master.url).await;
    assert_eq!(master.hello().await.request.held, []);
}

#[tokio::test]
async fn introductions_are_counted_and_one_that_came_too_late_is_repeated() {
    let mut master = Master::start().await;
    let worker = Worker::start(&master.url);
    let first = master.hello().await;
    assert_eq!(first.request.introduction, 1);
    let instance = first.request.instance.clone();
    first.answer(Err(Status::aborted("a later introduction has arrived")));
    let second = master.hello().await;
    assert_eq!((second.request.introduction, &second.request.instance), (2, &instance));
    second.answer(Ok(welcome()));
    master.stream().await.cut().await;
    let third = master.hello().await;
    assert_eq!((third.request.introduction, &third.request.instance), (3, &instance));
    drop(third);

    let _worker = restart(worker, &master.url).await;
    let other = loop {
        let hello = master.hello().await;
        if hello.request.instance != instance {
            break hello;
        }
    };
    assert_eq!(other.request.introduction, 1);
}
