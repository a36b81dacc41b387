//! A new master takes up what the old one had written.

use sortie_engine::{End, Hello, Limits, Scheduler, Snapshot};

use crate::world::{LEASE_AND_MARGIN, NOTHING, World, hello};

#[test]
fn a_new_master_waits_out_the_leases_and_keeps_the_queue() {
    let mut world = World::with_worker(3);
    assert_eq!(world.submit(5, |_| ()).len(), 1 + 3 + 3 + 1);
    assert_eq!(world.started(1, "1.1#1"), ["moved 1.1#1 on 1 at 0: running since 0"]);
    let expected =
        ["moved 1.2#1 on 1 at 0: cancelling since 0 until 40 for ann, no start", "to s1: stop 1.2#1", "answer: done"];
    assert_eq!(world.cancel_task("1.2"), expected);
    assert_eq!(world.pass(7), NOTHING);
    let expected = [
        "worker 1 a/i1 x3: open, unreachable since 7 until 27",
        "moved 1.0#1 on 1 at 0: unreachable until 27, no start",
        "moved 1.1#1 on 1 at 0: unreachable until 27, start 0",
        "moved 1.2#1 on 1 at 0: cancelling since 0 until 27 for ann, no start",
    ];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.pass(LEASE_AND_MARGIN - 1), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 27: lost, started Unknown, LeaseEnded",
        "count 1: 1 lost; open",
        "ended 1.1#1 on 1 at 0, start 0, gone 27: lost, started Yes, LeaseEnded",
        "count 1: 2 lost; open",
        "ended 1.2#1 on 1 at 0, no start, gone 27: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled, 2 lost; open",
        "worker 1 a/i1 x3: open, gone since 27",
    ];
    assert_eq!(world.pass(1), expected);
    assert_eq!(world.join(hello("a", 3)), ["worker 1 a/i1 x3: open, joining s2 until 37", "answer: joined"]);
    let expected = [
        "worker 1 a/i1 x3: open, connected s2 since 27",
        "placed 1.3#1 on 1 at 27: assigned",
        "placed 1.4#1 on 1 at 27: assigned",
        "to s2: start 1.3#1",
        "to s2: start 1.4#1",
        "answer: done",
    ];
    assert_eq!(world.connect(2), expected);
    assert_eq!(world.submit(1, |_| ())[0], "job 2 x1 at 27", "ids go on where they were");
}

#[test]
fn a_new_master_adopts_what_comes_back() {
    let mut world = World::running();
    assert_eq!(world.submit(1, |_| ()).len(), 2);
    assert_eq!(world.pass(7), NOTHING);
    let expected = [
        "worker 1 a/i1 x1: open, unreachable since 7 until 27",
        "moved 1.0#1 on 1 at 0: unreachable until 27, start 0",
    ];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.pass(3), NOTHING);
    // A master that is killed again counts the lease anew: it cannot know who was told what in between.
    let expected = [
        "worker 1 a/i1 x1: open, unreachable since 10 until 30",
        "moved 1.0#1 on 1 at 0: unreachable until 30, start 0",
    ];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.pass(5), NOTHING);
    let expected =
        ["moved 1.0#1 on 1 at 0: running since 0", "worker 1 a/i1 x1: open, joining s2 until 25", "answer: joined"];
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, true)]), expected);
    assert_eq!(world.connect(2), ["worker 1 a/i1 x1: open, connected s2 since 15", "answer: done"]);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 15: exited 0",
        "count 1: 1 succeeded; succeeded at 15",
        "placed 2.0#1 on 1 at 15: assigned",
        "to s2: start 2.0#1",
    ];
    assert_eq!(world.ended(2, "1.0#1", End::Exited(0)), expected);
}

#[test]
fn an_end_that_waited_for_a_master_that_was_away_for_long_is_not_overdue() {
    for started in [false, true] {
        let mut world = if started { World::running() } else { World::assigned() };
        world.away(3600);
        let expected = [
            "worker 1 a/i1 x1: open, unreachable since 3600 until 3620".to_owned(),
            format!("moved 1.0#1 on 1 at 0: unreachable until 3620, {}", if started { "start 0" } else { "no start" }),
        ];
        assert_eq!(world.restart(), expected);
        assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 0, started)]).len(), 3);
        assert_eq!(world.connect(2).len(), 2);
        assert_eq!((world.wake(), world.pass(29)), (vec![], vec![]), "the worker is just about to tell");
        let lines = world.ended(2, "1.0#1", End::Exited(0));
        assert!(lines[0].ends_with("gone 3629: exited 0"), "{lines:?}");
    }
    let mut world = World::assigned();
    world.away(3600);
    assert_eq!(world.restart().len(), 2);
    assert_eq!(world.join_with(hello("a", 1), &[("1.0#1", 1, false)]).len(), 3);
    assert_eq!(world.connect(2).len(), 2);
    assert_eq!(world.pass(29), NOTHING);
    let expected = "ended 1.0#1 on 1 at 0, no start, gone 3630: lost, started Unknown, Overdue";
    assert_eq!(world.pass(1)[0], expected);
}

#[test]
fn a_new_master_waits_for_the_orphans_of_the_old_one() {
    let mut world = World::running();
    assert_eq!(world.disconnect(1).len(), 2);
    let other = Hello { instance: "i2".into(), ..hello("a", 1) };
    assert_eq!(world.join(other.clone()).len(), 2);
    assert_eq!(world.connect(2).len(), 2);
    assert_eq!(world.submit(1, |_| ()).len(), 4);
    let expected = [
        "worker 1 a/i2 x1: open, unreachable since 0 until 20",
        "moved 1.0#1 on 1 at 0: unreachable until 20, start 0",
        "moved 2.0#1 on 1 at 0: unreachable until 20, no start",
    ];
    assert_eq!(world.restart(), expected);
    let expected =
        ["moved 2.0#1 on 1 at 0: running since 0", "worker 1 a/i2 x1: open, joining s3 until 10", "answer: joined"];
    assert_eq!(world.join_with(other.clone(), &[("2.0#1", 1, true)]), expected);
    assert_eq!(world.connect(3).len(), 2);
    let lost =
        ["ended 1.0#1 on 1 at 0, start 0, gone 20: lost, started Yes, LeaseEnded", "count 1: 1 lost; lost at 20"];
    assert_eq!(world.pass(LEASE_AND_MARGIN), lost);
    assert!(world.holds(3, "2.0#1"));
}

#[test]
fn a_worker_that_left_orphans_only_is_waited_for_by_a_new_master() {
    let mut world = World::running();
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.join(Hello { instance: "i2".into(), ..hello("a", 1) }).len(), 2);
    assert_eq!(world.disconnect(2), ["worker 1 a/i2 x1: open, gone since 0"]);
    let expected = [
        "worker 1 a/i2 x1: open, unreachable since 0 until 20",
        "moved 1.0#1 on 1 at 0: unreachable until 20, start 0",
    ];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.pass(LEASE_AND_MARGIN).len(), 3);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn what_waits_keeps_its_order_and_its_deadline() {
    let mut world = World::new();
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.submit(2, |spec| spec.priority = 1), ["job 2 x2 at 1", "answer: submitted 2"]);
    assert_eq!(world.restart(), NOTHING);
    assert_eq!(world.add_worker(hello("a", 1)), ["placed 2.0#1 on 1 at 1: assigned", "to s1: start 2.0#1"]);
    assert_eq!(world.started(1, "2.0#1"), ["moved 2.0#1 on 1 at 1: running since 1"]);
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.pass(LEASE_AND_MARGIN).len(), 3);
    let expected = [
        "ended 1.0..1 in queue at 1000: expired",
        "count 1: 1 expired; expired at 1000",
        "ended 2.1..2 in queue at 1001: expired",
        "count 2: 1 lost, 1 expired; lost at 1001",
    ];
    assert_eq!(world.pass(1000 - LEASE_AND_MARGIN), expected);
}

#[test]
fn workers_are_remembered_with_their_numbers_and_their_draining() {
    let mut world = World::with_worker(1);
    assert_eq!(world.join(hello("b", 1)), ["worker 2 b/i1 x1: open, joining s2 until 10", "answer: joined"]);
    assert_eq!(world.drain("a"), ["worker 1 a/i1 x1: draining, connected s1 since 0", "answer: done"]);
    let expected = ["worker 1 a/i1 x1: draining, gone since 0", "worker 2 b/i1 x1: open, gone since 0"];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.next_deadline(), None);
    assert_eq!(world.restart(), NOTHING);
    assert_eq!(world.join(hello("c", 1))[0], "worker 3 c/i1 x1: open, joining s3 until 10");
    assert_eq!(world.join(hello("a", 1))[0], "worker 1 a/i1 x1: draining, joining s4 until 10");
}

#[test]
fn restoring_gives_the_very_state_back() {
    let mut world = World::running();
    assert_eq!(world.submit(3, |spec| spec.needs.slots = 2).len(), 2);
    assert_eq!(world.join(hello("b", 1)).len(), 2);
    let restored = Scheduler::restore(Limits::default(), 1, world.snapshot());
    assert_eq!(restored.check(), Ok(()));
    assert_eq!(restored.snapshot(), world.snapshot());
}

#[test]
fn nothing_remembered_is_a_new_scheduler() {
    let restored = Scheduler::restore(Limits::default(), 1, Snapshot::default());
    assert_eq!(restored.snapshot(), Scheduler::new(Limits::default(), 1).snapshot());
}
