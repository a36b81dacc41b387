//! Leases: workers are heard of, fall silent, are cut off, and come back with what they hold.

use sortie_engine::{End, Hello};

use crate::world::{LEASE_AND_MARGIN, NOTHING, World, hello};

/// What is written when the session is lost of the worker that runs task 1.0.
const CUT_OFF: [&str; 2] =
    ["worker 1 a/i1 x1: open, unreachable since 0 until 20", "moved 1.0#1 on 1 at 0: unreachable until 20, start 0"];

/// What is written when nobody was heard of until the lease had run out.
const LOST: [&str; 2] =
    ["ended 1.0#1 on 1 at 0, start 0, gone 20: lost, started Yes, LeaseEnded", "count 1: 1 lost; lost at 20"];

/// Another process of worker `a`.
fn other() -> Hello {
    Hello { instance: "i2".into(), ..hello("a", 1) }
}

/// Task 1.0 runs since 0, its worker was cut off at once, and it is 5 now.
fn unreachable() -> World {
    let mut world = World::running();
    assert_eq!(world.disconnect(1), CUT_OFF);
    assert_eq!(world.pass(5), NOTHING);
    world
}

/// The same, and another process of the worker has connected on session 2.
fn orphaned() -> World {
    let mut world = unreachable();
    assert_eq!(world.join(other()), ["worker 1 a/i2 x1: open, joining s2 until 15", "answer: joined"]);
    assert_eq!(world.connect(2), ["worker 1 a/i2 x1: open, connected s2 since 5", "answer: done"]);
    world
}

#[test]
fn a_heartbeat_is_acknowledged_and_renews_the_lease() {
    let mut world = World::running();
    assert_eq!(world.pass(9), NOTHING);
    assert_eq!(world.next_deadline(), Some(LEASE_AND_MARGIN));
    // The worker's clock is its own: the master only hands it back.
    assert_eq!(world.heartbeat(1, 777), ["to s1: renew 777"]);
    assert_eq!(world.next_deadline(), Some(9 + LEASE_AND_MARGIN));
    assert_eq!(world.leaving(1).len(), 2);
    assert_eq!(world.heartbeat(1, 778), ["to s1: renew 778"]);
    assert_eq!(world.heartbeat(9, 1), ["stale: 1"]);
    assert_eq!(world.join(hello("b", 1)).len(), 2);
    assert_eq!(world.heartbeat(2, 1), ["stale: 1"], "it has no stream yet");
}

#[test]
fn a_silent_worker_is_given_up_when_its_lease_is_over() {
    let mut world = World::running();
    assert_eq!(world.submit(1, |_| ()).len(), 2);
    world.fall_silent();
    assert_eq!(world.pass(LEASE_AND_MARGIN - 1), NOTHING);
    let expected = ["worker 1 a/i1 x1: open, gone since 20", LOST[0], LOST[1], "to s1: close, Silent"];
    assert_eq!(world.pass(1), expected);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), ["stale: 1"]);
    assert_eq!(world.next_deadline(), Some(1000), "the queue's own is left");
}

#[test]
fn a_cut_off_worker_is_given_up_when_its_lease_is_over_counted_from_its_last_word() {
    let mut world = World::running();
    assert_eq!(world.pass(17), NOTHING);
    let expected = [
        "worker 1 a/i1 x1: open, unreachable since 17 until 30",
        "moved 1.0#1 on 1 at 0: unreachable until 30, start 0",
    ];
    assert_eq!(world.disconnect(1), expected, "it was last heard of at 10");
    assert_eq!(world.pass(12), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 30: lost, started Yes, LeaseEnded",
        "count 1: 1 lost; lost at 30",
        "worker 1 a/i1 x1: open, gone since 30",
    ];
    assert_eq!(world.pass(1), expected);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn a_running_attempt_is_adopted() {
    let mut world = unreachable();
    let expected =
        ["moved 1.0#1 on 1 at 0: running since 0", "worker 1 a/i1 x1: open, joining s2 until 15", "answer: joined"];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]), expected);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: open, connected s2 since 5", "answer: done"]);
    assert_eq!(world.pass(50), NOTHING);
    let expected = ["ended 1.0#1 on 1 at 0, start 0, gone 55: exited 3", "count 1: 1 failed; failed at 55"];
    assert_eq!(world.ended(2, "1.0#1", End::Exited(3)), expected);
}

#[test]
fn an_attempt_is_adopted_by_what_its_worker_says_of_its_start() {
    for (started, stage) in [(false, "assigned"), (true, "running since 5")] {
        let mut world = World::assigned();
        let expected = [CUT_OFF[0], "moved 1.0#1 on 1 at 0: unreachable until 20, no start"];
        assert_eq!(world.disconnect(1), expected);
        assert_eq!(world.pass(5), NOTHING);
        let lines = world.join_with(hello("a", 1), &[("1.0#1", 1, started)]);
        assert_eq!(lines[0], format!("moved 1.0#1 on 1 at 0: {stage}"));
        assert_eq!((lines.len(), world.connect(2).len()), (3, 2));
        assert!(world.holds(2, "1.0#1"));
    }
}

#[test]
fn an_end_that_could_not_be_told_is_told_after_all() {
    let mut world = unreachable();
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 0, true)]).len(), 3);
    assert_eq!(world.submit(1, |_| ()).len(), 2);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: open, connected s2 since 5", "answer: done"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 5: exited 0",
        "count 1: 1 succeeded; succeeded at 5",
        "placed 2.0#1 on 1 at 5: assigned",
        "to s2: start 2.0#1",
    ];
    assert_eq!(world.ended(2, "1.0#1", End::Exited(0)), expected);
    // Its acknowledgement was lost with the next session: it is presented and told again.
    assert_eq!(world.disconnect(2).len(), 2);
    let expected = [
        "moved 2.0#1 on 1 at 5: running since 5",
        "worker 1 a/i1 x1: open, joining s3 until 15",
        "answer: joined, kill 1.0#1",
    ];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 0, true), ("2.0#1", 1, true)]), expected);
    assert_eq!(world.ended(3, "1.0#1", End::Exited(0)), ["stale: 1"]);
}

#[test]
fn a_cancelling_attempt_is_adopted_and_its_stop_repeated() {
    let mut world = World::running();
    assert_eq!(world.cancel_task("1.0").len(), 3);
    let expected = [CUT_OFF[0], "moved 1.0#1 on 1 at 0: cancelling since 0 until 20 for ann, start 0"];
    assert_eq!(world.disconnect(1), expected);
    assert_eq!(world.pass(5), NOTHING);
    let expected = [
        "moved 1.0#1 on 1 at 0: cancelling since 0 until 45 for ann, start 0",
        "worker 1 a/i1 x1: open, joining s2 until 15",
        "answer: joined",
    ];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]), expected);
    let expected = ["worker 1 a/i1 x1: open, connected s2 since 5", "to s2: stop 1.0#1", "answer: done"];
    assert_eq!(world.connect(2), expected);
    let expected = ["ended 1.0#1 on 1 at 0, start 0, gone 5: cancelled by ann", "count 1: 1 cancelled; cancelled at 5"];
    assert_eq!(world.ended(2, "1.0#1", End::Stopped), expected);
}

#[test]
fn what_is_cancelled_while_unreachable_is_stopped_when_it_is_back_or_over_with_its_lease() {
    let cancelling = "moved 1.0#1 on 1 at 0: cancelling since 5 until 20 for ann, start 0";
    let mut world = unreachable();
    assert_eq!(world.cancel_task("1.0"), [cancelling, "answer: done"]);
    assert_eq!(world.cancel_task("1.0"), ["answer: done"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 20: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled; cancelled at 20",
        "worker 1 a/i1 x1: open, gone since 20",
    ];
    assert_eq!(world.pass(15), expected);
    let mut world = unreachable();
    assert_eq!(world.cancel_task("1.0"), [cancelling, "answer: done"]);
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]).len(), 3);
    assert_eq!(world.connect(2)[1], "to s2: stop 1.0#1");
}

#[test]
fn a_cancellation_between_joining_and_connecting_is_repeated() {
    let mut world = unreachable();
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]).len(), 3);
    assert_eq!(world.cancel_task("1.0").len(), 3);
    assert_eq!(world.connect(2)[1], "to s2: stop 1.0#1");
}

#[test]
fn what_nobody_knows_is_killed_and_takes_room_until_it_is_gone() {
    let mut world = World::new();
    assert_eq!(world.submit(3, |_| ()).len(), 2);
    let expected = ["worker 1 a/i1 x3: open, joining s1 until 10", "answer: joined, kill 7.0#1 8.0#2 9.0#1"];
    let held = [("7.0#1", 1, true), ("8.0#2", 1, false), ("9.0#1", 0, true)];
    assert_eq!(world.join_with(hello("a", 3), &held), expected);
    let expected = [
        "worker 1 a/i1 x3: open, connected s1 since 0",
        "placed 1.0#1 on 1 at 0: assigned",
        "to s1: start 1.0#1",
        "answer: done",
    ];
    assert_eq!(world.connect(1), expected);
    assert_eq!(world.ended(1, "9.0#1", End::Exited(0)), ["stale: 1"], "it took no room");
    let expected = ["placed 1.1#1 on 1 at 0: assigned", "to s1: start 1.1#1", "stale: 1"];
    assert_eq!(world.ended(1, "7.0#1", End::Stopped), expected);
    assert_eq!(world.ended(1, "7.0#1", End::Stopped), ["stale: 1"]);
    let expected = ["placed 1.2#1 on 1 at 0: assigned", "to s1: start 1.2#1", "stale: 1"];
    assert_eq!(world.ended(1, "8.0#2", End::Stopped), expected);
}

#[test]
fn presented_slots_may_add_up_to_anything() {
    let mut world = World::new();
    let held = [("7.0#1", u32::MAX, true), ("8.0#1", u32::MAX, true)];
    assert_eq!(world.join_with(hello("a", 1), &held).len(), 2);
    assert_eq!(world.connect(1).len(), 2);
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
}

#[test]
fn another_attempt_than_the_live_one_is_not_adopted() {
    let mut world = unreachable();
    let expected = ["worker 1 a/i1 x1: open, joining s2 until 15", "answer: joined, kill 1.0#2"];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#2", 1, true)]), expected);
    assert!(!world.holds(2, "1.0#1") && !world.holds(2, "1.0#2"));
}

#[test]
fn another_process_takes_the_name_and_what_the_first_held_waits_for_its_lease() {
    let mut world = orphaned();
    assert!(!world.holds(2, "1.0#1"));
    // The orphan takes no room of the new process.
    let lines = world.submit(1, |_| ());
    assert_eq!(lines[1..3], ["placed 2.0#1 on 1 at 5: assigned", "to s2: start 2.0#1"]);
    assert_eq!(world.started(2, "2.0#1"), ["moved 2.0#1 on 1 at 5: running since 5"]);
    // It says nothing about the orphan either.
    assert_eq!(world.ended(2, "1.0#1", End::Exited(0)), ["stale: 1"]);
    assert_eq!(world.pass(14), NOTHING);
    assert_eq!(world.pass(1), LOST);
    assert!(world.holds(2, "2.0#1"));
}

#[test]
fn a_cancelled_orphan_is_over_with_its_lease_and_nobody_is_told_to_stop_it() {
    let mut world = orphaned();
    let expected = ["moved 1.0#1 on 1 at 0: cancelling since 5 until 20 for ann, start 0", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 20: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled; cancelled at 20",
    ];
    assert_eq!(world.pass(15), expected);
}

#[test]
fn an_orphan_keeps_its_time_when_the_session_after_its_own_is_lost() {
    let mut world = orphaned();
    assert_eq!(world.submit(1, |_| ()).len(), 4);
    let expected = [
        "worker 1 a/i2 x1: open, unreachable since 5 until 25",
        "moved 2.0#1 on 1 at 5: unreachable until 25, no start",
    ];
    assert_eq!(world.disconnect(2), expected);
    assert_eq!(world.pass(15), LOST);
    assert_eq!(world.pass(5).len(), 3);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn an_orphan_is_adopted_by_the_process_that_has_it() {
    let mut world = orphaned();
    assert_eq!(world.disconnect(2), ["worker 1 a/i2 x1: open, gone since 5"]);
    let expected =
        ["moved 1.0#1 on 1 at 0: running since 0", "worker 1 a/i1 x1: open, joining s3 until 15", "answer: joined"];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]), expected);
    assert!(world.holds(3, "1.0#1"));
}

#[test]
fn a_word_is_overdue_no_sooner_than_the_worker_could_have_said_it() {
    let mut world = World::assigned();
    assert_eq!(world.pass(20), NOTHING);
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.pass(15), NOTHING);
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, false)]).len(), 3);
    assert_eq!(world.connect(2).len(), 2);
    assert_eq!(world.pass(29), NOTHING);
    assert_eq!(world.pass(1)[0], "ended 1.0#1 on 1 at 0, no start, gone 65: lost, started Unknown, Overdue");
}

#[test]
fn room_of_a_given_up_attempt_stays_taken_over_a_new_session() {
    let mut world = World::running();
    assert_eq!(world.submit(1, |_| ()).len(), 2);
    assert_eq!(world.pass(140).len(), 3, "the command may still be there");
    assert_eq!(world.disconnect(1), ["worker 1 a/i1 x1: open, gone since 140"]);
    let expected = ["worker 1 a/i1 x1: open, joining s2 until 150", "answer: joined, kill 1.0#1"];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]), expected);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: open, connected s2 since 140", "answer: done"]);
    let expected = ["placed 2.0#1 on 1 at 140: assigned", "to s2: start 2.0#1", "stale: 1"];
    assert_eq!(world.ended(2, "1.0#1", End::TimedOut), expected);
}
