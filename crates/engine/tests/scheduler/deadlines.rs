//! Every state that is not final has a deadline, to the millisecond, and something happens there.

use std::time::Duration;

use sortie_engine::End;

use crate::world::{LEASE_AND_MARGIN, NOTHING, QUEUE_TIMEOUT, TIMEOUT, World};

/// The grace that a command has and the master's margin behind it, in seconds.
const GRACE_AND_MARGIN: u64 = 10 + 30;

#[test]
fn a_task_that_its_worker_does_not_start_is_lost() {
    let mut world = World::assigned();
    assert_eq!(world.pass(29), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 30: lost, started Unknown, Overdue",
        "count 1: 1 lost; lost at 30",
        "to s1: stop 1.0#1",
    ];
    assert_eq!(world.pass(1), expected);
    assert_eq!(world.next_deadline(), Some(30 + LEASE_AND_MARGIN), "the worker's own is left");
}

#[test]
fn a_command_that_its_worker_does_not_stop_in_time_is_lost() {
    let mut world = World::running();
    assert_eq!(world.pass(TIMEOUT + GRACE_AND_MARGIN - 1), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 140: lost, started Yes, Overdue",
        "count 1: 1 lost; lost at 140",
        "to s1: stop 1.0#1",
    ];
    assert_eq!(world.pass(1), expected);
}

#[test]
fn the_time_to_run_counts_from_the_start() {
    let mut world = World::assigned();
    assert_eq!(world.pass(20), NOTHING);
    assert_eq!(world.started(1, "1.0#1"), ["moved 1.0#1 on 1 at 0: running since 20"]);
    assert_eq!(world.pass(TIMEOUT + GRACE_AND_MARGIN - 1), NOTHING);
    assert_eq!(world.pass(1).len(), 3);
}

#[test]
fn a_cancellation_that_nobody_confirms_ends_without_confirmation() {
    let mut world = World::running();
    assert_eq!(world.pass(50), NOTHING);
    let expected =
        ["moved 1.0#1 on 1 at 0: cancelling since 50 until 90 for ann, start 0", "to s1: stop 1.0#1", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    assert_eq!(world.pass(GRACE_AND_MARGIN - 1), NOTHING);
    // Asking again does not put the end off.
    assert_eq!(world.cancel_task("1.0"), ["answer: done"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 90: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled; cancelled at 90",
        "to s1: stop 1.0#1",
    ];
    assert_eq!(world.pass(1), expected);
}

#[test]
fn room_of_a_given_up_attempt_is_given_away_when_it_is_gone() {
    let mut world = World::running();
    assert_eq!(world.submit(1, |_| ()), ["job 2 x1 at 0", "answer: submitted 2"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 140: lost, started Yes, Overdue",
        "count 1: 1 lost; lost at 140",
        "to s1: stop 1.0#1",
    ];
    assert_eq!(world.pass(140), expected, "the command may still be there");
    assert_eq!(world.ended(1, "1.0#2", End::Stopped), ["stale: 1"], "another attempt's end says nothing");
    let expected = ["placed 2.0#1 on 1 at 140: assigned", "to s1: start 2.0#1", "stale: 1"];
    assert_eq!(world.ended(1, "1.0#1", End::Stopped), expected);
}

#[test]
fn what_waits_for_too_long_expires_and_only_that() {
    let mut world = World::with_worker(1);
    let expected = ["job 1 x9 at 0", "placed 1.0#1 on 1 at 0: assigned", "to s1: start 1.0#1", "answer: submitted 1"];
    assert_eq!(world.submit(9, |spec| spec.timeout = Duration::from_secs(2 * QUEUE_TIMEOUT)), expected);
    assert_eq!(world.started(1, "1.0#1"), ["moved 1.0#1 on 1 at 0: running since 0"]);
    let expected = ["ended 1.4..5 in queue at 0: cancelled by ann", "count 1: 1 cancelled; open", "answer: done"];
    assert_eq!(world.cancel_task("1.4"), expected);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.submit(1, |_| ()), ["job 2 x1 at 1", "answer: submitted 2"]);
    assert_eq!(world.pass(QUEUE_TIMEOUT - 2), NOTHING);
    let expected = [
        "ended 1.1..4 in queue at 1000: expired",
        "ended 1.5..9 in queue at 1000: expired",
        "count 1: 1 cancelled, 7 expired; open",
    ];
    assert_eq!(world.pass(1), expected);
    assert_eq!(world.pass(1), ["ended 2.0..1 in queue at 1001: expired", "count 2: 1 expired; expired at 1001"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 1001: exited 0",
        "count 1: 1 succeeded, 1 cancelled, 7 expired; expired at 1001",
    ];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
}

#[test]
fn a_master_that_overslept_does_all_that_was_due_in_order() {
    let mut world = World::assigned();
    assert_eq!(world.submit(2, |spec| spec.queue_timeout = Duration::from_secs(20)).len(), 2);
    let expected = [
        "ended 2.0..2 in queue at 50: expired",
        "count 2: 2 expired; expired at 50",
        "worker 1 a/i1 x1: open, gone since 50",
        "ended 1.0#1 on 1 at 0, no start, gone 50: lost, started Unknown, LeaseEnded",
        "count 1: 1 lost; lost at 50",
        "to s1: close, Silent",
    ];
    assert_eq!(world.oversleep(50), expected);
    assert_eq!(world.wake(), NOTHING);
}
