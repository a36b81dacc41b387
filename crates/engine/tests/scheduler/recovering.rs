//! A new master takes up what the old one had written.

use sortie_engine::{Limits, Scheduler, Snapshot};

use crate::world::{NOTHING, World, hello};

#[test]
fn attempts_are_lost_with_the_master_and_the_queue_is_kept() {
    let mut world = World::with_worker(3);
    assert_eq!(world.submit(5, |_| ()).len(), 1 + 3 + 3 + 1);
    assert_eq!(world.started(1, "1.1#1"), ["moved 1.1#1 on 1 at 0: running since 0"]);
    let expected = ["moved 1.2#1 on 1 at 0: cancelling since 0 for ann, no start", "to s1: stop 1.2#1", "answer: done"];
    assert_eq!(world.cancel_task("1.2"), expected);
    assert_eq!(world.pass(7), NOTHING);
    let expected = [
        "worker 1 a/i1 x3: open, gone since 7",
        "ended 1.0#1 on 1 at 0, no start, gone 7: lost, started Unknown, MasterRestarted",
        "count 1: 1 lost; open",
        "ended 1.1#1 on 1 at 0, start 0, gone 7: lost, started Yes, MasterRestarted",
        "count 1: 2 lost; open",
        "ended 1.2#1 on 1 at 0, no start, gone 7: cancelled by ann, unconfirmed",
        "count 1: 1 cancelled, 2 lost; open",
    ];
    assert_eq!(world.restart(), expected);
    assert_eq!(world.join(hello("a", 3)), ["worker 1 a/i1 x3: open, joining s2 until 17", "answer: done"]);
    let expected = [
        "worker 1 a/i1 x3: open, connected s2 since 7",
        "placed 1.3#1 on 1 at 7: assigned",
        "placed 1.4#1 on 1 at 7: assigned",
        "to s2: start 1.3#1",
        "to s2: start 1.4#1",
        "answer: done",
    ];
    assert_eq!(world.connect(2), expected);
    assert_eq!(world.submit(1, |_| ())[0], "job 2 x1 at 7", "ids go on where they were");
}

#[test]
fn what_waits_keeps_its_order_and_its_deadline() {
    let mut world = World::new();
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.submit(2, |draft| draft.priority = Some(1)), ["job 2 x2 at 1", "answer: submitted 2"]);
    assert_eq!(world.restart(), NOTHING);
    assert_eq!(world.add_worker(hello("a", 1)), ["placed 2.0#1 on 1 at 1: assigned", "to s1: start 2.0#1"]);
    assert_eq!(world.started(1, "2.0#1"), ["moved 2.0#1 on 1 at 1: running since 1"]);
    assert_eq!(world.disconnect(1).len(), 3);
    let expected = [
        "ended 1.0..1 in queue at 1000: expired",
        "count 1: 1 expired; expired at 1000",
        "ended 2.1..2 in queue at 1001: expired",
        "count 2: 1 lost, 1 expired; lost at 1001",
    ];
    assert_eq!(world.pass(1000), expected);
}

#[test]
fn workers_are_remembered_with_their_numbers_and_their_draining() {
    let mut world = World::with_worker(1);
    assert_eq!(world.join(hello("b", 1)), ["worker 2 b/i1 x1: open, joining s2 until 10", "answer: done"]);
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
    assert_eq!(world.submit(3, |draft| draft.slots = Some(2)).len(), 2);
    assert_eq!(world.join(hello("b", 1)).len(), 2);
    let restored = Scheduler::restore(Limits::default(), world.snapshot());
    assert_eq!(restored.check(), Ok(()));
    assert_eq!(restored.snapshot(), world.snapshot());
    assert_eq!(restored.next_deadline().map(|time| time.0 / 1000), world.next_deadline());
}

#[test]
fn nothing_remembered_is_a_new_scheduler() {
    let restored = Scheduler::restore(Limits::default(), Snapshot::default());
    assert_eq!(restored.snapshot(), Scheduler::new(Limits::default()).snapshot());
}
