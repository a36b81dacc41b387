//! Workers join, connect, drain, leave, are cut off and come back.

use sortie_engine::{End, Hello};

use crate::world::{LEASE_AND_MARGIN, NOTHING, World, hello, labelled};

/// What is written when the session is lost of the worker that runs task 1.0.
const CUT_OFF: [&str; 2] =
    ["worker 1 a/i1 x1: open, unreachable since 0 until 20", "moved 1.0#1 on 1 at 0: unreachable until 20, start 0"];

#[test]
fn a_worker_joins_and_connects() {
    let mut world = World::new();
    let expected = ["worker 1 a/i1 x4: open, joining s1 until 10", "answer: joined"];
    assert_eq!(world.join(hello("a", 4)), expected);
    assert_eq!(world.pass(3), NOTHING);
    assert_eq!(world.connect(1), ["worker 1 a/i1 x4: open, connected s1 since 3", "answer: done"]);
    assert_eq!(world.next_deadline(), Some(LEASE_AND_MARGIN), "the lease counts from its first word");
    let expected = ["worker 2 b/i1 x1: open, joining s2 until 13", "answer: joined"];
    assert_eq!(world.join(hello("b", 1)), expected);
}

#[test]
fn a_worker_that_has_not_connected_gets_nothing() {
    let mut world = World::new();
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
    let expected = [
        "worker 1 a/i1 x1: open, connected s1 since 0",
        "placed 1.0#1 on 1 at 0: assigned",
        "to s1: start 1.0#1",
        "answer: done",
    ];
    assert_eq!(world.connect(1), expected);
}

#[test]
fn a_session_is_connected_once_and_only_if_it_is_open() {
    let mut world = World::new();
    let refused = ["answer: refused, NoSession"];
    assert_eq!(world.connect(1), refused);
    assert_eq!(world.add_worker(hello("a", 1)), NOTHING);
    assert_eq!(world.connect(1), refused);
    assert_eq!(world.leaving(1), ["worker 1 a/i1 x1: open, leaving s1 since 0", "to s1: drain"]);
    assert_eq!(world.connect(1), refused);
    assert_eq!(world.disconnect(1), ["worker 1 a/i1 x1: open, gone since 0"]);
    assert_eq!(world.connect(1), refused);
}

#[test]
fn a_worker_that_joined_and_never_connected_is_dropped() {
    let mut world = World::new();
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    assert_eq!(world.pass(9), NOTHING);
    assert_eq!(world.pass(1), ["worker 1 a/i1 x1: open, gone since 10", "to s1: close, Late"]);
    assert_eq!(world.connect(1), ["answer: refused, NoSession"]);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn a_name_is_taken_while_its_worker_is_there() {
    let mut world = World::running();
    let other = Hello { instance: "i2".into(), ..hello("a", 1) };
    assert_eq!(world.join(other.clone()), ["answer: refused, NameTaken"]);
    assert!(world.holds(1, "1.0#1"));
    assert_eq!(world.connect(2), ["answer: refused, NoSession"]);
    assert_eq!(world.disconnect(1), CUT_OFF);
    assert_eq!(world.join(other), ["worker 1 a/i2 x1: open, joining s3 until 10", "answer: joined"]);
}

#[test]
fn a_name_is_taken_while_its_worker_is_joining() {
    let mut world = World::new();
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    let other = Hello { instance: "i2".into(), ..hello("a", 1) };
    assert_eq!(world.join(other), ["answer: refused, NameTaken"]);
}

#[test]
fn the_same_process_on_a_new_connection_supersedes_the_old_one() {
    let mut world = World::running();
    let expected = [
        CUT_OFF[0],
        CUT_OFF[1],
        "worker 1 a/i1 x1: open, joining s2 until 10",
        "to s1: close, Superseded",
        "answer: joined",
    ];
    assert_eq!(world.join(hello("a", 1)), expected);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), ["stale: 1"]);
    assert_eq!(world.disconnect(1), NOTHING);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: open, connected s2 since 0", "answer: done"]);
}

#[test]
fn a_joining_session_is_superseded_with_its_deadline() {
    let mut world = World::new();
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    assert_eq!(world.pass(4), NOTHING);
    let expected = [
        "worker 1 a/i1 x1: open, gone since 4",
        "worker 1 a/i1 x1: open, joining s2 until 14",
        "to s1: close, Superseded",
        "answer: joined",
    ];
    assert_eq!(world.join(hello("a", 1)), expected);
    assert_eq!(world.next_deadline(), Some(14));
}

#[test]
fn what_a_worker_says_anew_counts_anew() {
    let mut world = World::with_worker(1);
    assert_eq!(world.disconnect(1), ["worker 1 a/i1 x1: open, gone since 0"]);
    let lines = world.submit(2, |spec| spec.needs.selector = "gpu".parse().expect("a selector"));
    assert_eq!(lines, ["job 1 x2 at 0", "answer: submitted 1"]);
    let anew = Hello { instance: "i2".into(), version: "2".into(), ..labelled("a", 2, "gpu") };
    assert_eq!(world.join(anew.clone()), ["worker 1 a/i2 x2: open, joining s2 until 10", "answer: joined"]);
    let expected = [
        "worker 1 a/i2 x2: open, connected s2 since 0",
        "placed 1.0#1 on 1 at 0: assigned",
        "placed 1.1#1 on 1 at 0: assigned",
        "to s2: start 1.0#1",
        "to s2: start 1.1#1",
        "answer: done",
    ];
    assert_eq!(world.connect(2), expected);
    assert_eq!(world.snapshot().workers[0].hello, anew);
}

#[test]
fn a_drained_worker_finishes_what_it_holds_and_gets_nothing_new() {
    let mut world = World::running();
    assert_eq!(world.drain("a"), ["worker 1 a/i1 x1: draining, connected s1 since 0", "answer: done"]);
    assert_eq!(world.drain("a"), ["answer: done"]);
    assert_eq!(world.submit(1, |_| ()), ["job 2 x1 at 0", "answer: submitted 2"]);
    let expected = ["ended 1.0#1 on 1 at 0, start 0, gone 0: exited 0", "count 1: 1 succeeded; succeeded at 0"];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
    let expected = [
        "worker 1 a/i1 x1: open, connected s1 since 0",
        "placed 2.0#1 on 1 at 0: assigned",
        "to s1: start 2.0#1",
        "answer: done",
    ];
    assert_eq!(world.undrain("a"), expected);
    assert_eq!(world.undrain("a"), ["answer: done"]);
}

#[test]
fn draining_outlives_the_session_and_asks_for_a_known_worker() {
    let mut world = World::with_worker(1);
    assert_eq!(world.drain("b"), ["answer: not live"]);
    assert_eq!(world.disconnect(1), ["worker 1 a/i1 x1: open, gone since 0"]);
    assert_eq!(world.drain("a"), ["worker 1 a/i1 x1: draining, gone since 0", "answer: done"]);
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
    assert_eq!(world.join(hello("a", 1)), ["worker 1 a/i1 x1: draining, joining s2 until 10", "answer: joined"]);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: draining, connected s2 since 0", "answer: done"]);
}

#[test]
fn a_leaving_worker_reports_what_it_holds_and_gets_nothing_new() {
    let mut world = World::running();
    assert_eq!(world.submit(1, |_| ()), ["job 2 x1 at 0", "answer: submitted 2"]);
    assert_eq!(world.leaving(1), ["worker 1 a/i1 x1: open, leaving s1 since 0", "to s1: drain"]);
    assert_eq!(world.undrain("a"), ["answer: done"]);
    let expected =
        ["ended 1.0#1 on 1 at 0, start 0, gone 0: lost, started Yes, WorkerStopped", "count 1: 1 lost; lost at 0"];
    assert_eq!(world.ended(1, "1.0#1", End::WorkerStopped), expected);
    assert_eq!(world.disconnect(1), ["worker 1 a/i1 x1: open, gone since 0"]);
}

#[test]
fn leaving_is_said_once_and_by_a_connected_worker() {
    let mut world = World::new();
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    // A session that never opened its stream keeps its deadline whatever it says.
    assert_eq!(world.leaving(1), ["stale: 1"]);
    assert_eq!(world.next_deadline(), Some(10));
    assert_eq!(world.connect(1), ["worker 1 a/i1 x1: open, connected s1 since 0", "answer: done"]);
    assert_eq!(world.leaving(1), ["worker 1 a/i1 x1: open, leaving s1 since 0", "to s1: drain"]);
    assert_eq!(world.pass(5), NOTHING);
    assert_eq!(world.leaving(1), ["stale: 1"]);
}

#[test]
fn a_lost_connection_is_waited_for_until_the_lease_is_over() {
    let mut world = World::with_worker(3);
    assert_eq!(world.submit(4, |_| ()).len(), 1 + 3 + 3 + 1);
    assert_eq!(world.started(1, "1.1#1"), ["moved 1.1#1 on 1 at 0: running since 0"]);
    let expected =
        ["moved 1.2#1 on 1 at 0: cancelling since 0 until 40 for ann, no start", "to s1: stop 1.2#1", "answer: done"];
    assert_eq!(world.cancel_task("1.2"), expected);
    let expected = [
        "worker 1 a/i1 x3: open, unreachable since 0 until 20",
        "moved 1.0#1 on 1 at 0: unreachable until 20, no start",
        "moved 1.1#1 on 1 at 0: unreachable until 20, start 0",
        "moved 1.2#1 on 1 at 0: cancelling since 0 until 20 for ann, no start",
    ];
    assert_eq!(world.disconnect(1), expected);
    assert_eq!(world.disconnect(1), NOTHING);
    assert_eq!(world.pass(LEASE_AND_MARGIN - 1), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 20: lost, started Unknown, LeaseEnded",
        "count 1: 1 lost; open",
        "ended 1.1#1 on 1 at 0, start 0, gone 20: lost, started Yes, LeaseEnded",
        "count 1: 2 lost; open",
        "ended 1.2#1 on 1 at 0, no start, gone 20: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled, 2 lost; open",
        "worker 1 a/i1 x3: open, gone since 20",
    ];
    assert_eq!(world.pass(1), expected);
    // The queue goes to the next worker.
    assert_eq!(world.add_worker(hello("b", 1)), ["placed 1.3#1 on 2 at 20: assigned", "to s2: start 1.3#1"]);
}

#[test]
fn a_lost_connection_touches_no_other_worker() {
    let mut world = World::running();
    assert_eq!(world.add_worker(hello("b", 1)), NOTHING);
    let expected = ["job 2 x1 at 0", "placed 2.0#1 on 2 at 0: assigned", "to s2: start 2.0#1", "answer: submitted 2"];
    assert_eq!(world.submit(1, |_| ()), expected);
    assert_eq!(world.disconnect(1), CUT_OFF);
    assert!(world.holds(2, "2.0#1"));
}
