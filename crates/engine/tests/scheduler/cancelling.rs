//! Cancelling: at once what waits, by order what a worker holds.

use sortie_engine::End;

use crate::world::{NOTHING, World};

const STOPPED: [&str; 2] =
    ["ended 1.0#1 on 1 at 0, start 0, gone 2: cancelled by ann", "count 1: 1 cancelled; cancelled at 2"];

#[test]
fn a_waiting_task_ends_at_once_and_only_it() {
    let mut world = World::new();
    assert_eq!(world.submit(3, |_| ()), ["job 1 x3 at 0", "answer: submitted 1"]);
    let expected = ["ended 1.1..2 in queue at 0: cancelled by ann", "count 1: 1 cancelled; open", "answer: done"];
    assert_eq!(world.cancel_task("1.1"), expected);
    assert_eq!(world.cancel_task("1.1"), ["answer: not live"]);
    assert_eq!(world.snapshot().jobs[0].waiting.iter().collect::<Vec<_>>(), [0..1, 2..3]);
    let expected = ["ended 1.0..1 in queue at 0: cancelled by ann", "count 1: 2 cancelled; open", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    let expected =
        ["ended 1.2..3 in queue at 0: cancelled by ann", "count 1: 3 cancelled; cancelled at 0", "answer: done"];
    assert_eq!(world.cancel_task("1.2"), expected);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn an_assigned_task_is_stopped_by_order() {
    let mut world = World::assigned();
    assert_eq!(world.pass(1), NOTHING);
    let expected =
        ["moved 1.0#1 on 1 at 0: cancelling since 1 until 41 for ann, no start", "to s1: stop 1.0#1", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    // The worker had started it before the order came, and says so first.
    let expected = ["moved 1.0#1 on 1 at 0: cancelling since 1 until 41 for ann, start 1"];
    assert_eq!(world.started(1, "1.0#1"), expected);
    let expected = ["ended 1.0#1 on 1 at 0, start 1, gone 1: cancelled by ann", "count 1: 1 cancelled; cancelled at 1"];
    assert_eq!(world.ended(1, "1.0#1", End::Stopped), expected);
}

#[test]
fn a_running_task_is_stopped_once_however_often_it_is_asked() {
    let mut world = World::running();
    let expected =
        ["moved 1.0#1 on 1 at 0: cancelling since 0 until 40 for ann, start 0", "to s1: stop 1.0#1", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    assert_eq!(world.pass(2), NOTHING);
    assert_eq!(world.cancel_task("1.0"), ["answer: done"]);
    assert_eq!(world.cancel_job(1), ["answer: done"]);
    assert_eq!(world.ended(1, "1.0#1", End::Stopped), STOPPED);
    assert_eq!(world.cancel_task("1.0"), ["answer: not live"]);
    assert_eq!(world.cancel_job(1), ["answer: not live"]);
}

#[test]
fn a_cancelled_command_that_is_gone_for_the_workers_reasons_is_cancelled() {
    for end in [End::Stopped, End::WorkerStopped, End::LeaseEnded, End::Refused] {
        let mut world = cancelling();
        assert_eq!(world.ended(1, "1.0#1", end), STOPPED);
    }
}

#[test]
fn a_cancelled_command_that_ended_by_itself_did_so() {
    let could_not = End::CouldNotStart { errno: 2, detail: "x".into() };
    let ends = [
        (End::Exited(0), "exited 0", "1 succeeded; succeeded"),
        (End::Signaled(6), "signal 6", "1 failed; failed"),
        (End::TimedOut, "timed out", "1 timed out; timed_out"),
        (could_not, "could not start: 2 x", "1 failed; failed"),
    ];
    for (end, outcome, count) in ends {
        let mut world = cancelling();
        let expected = [format!("ended 1.0#1 on 1 at 0, start 0, gone 2: {outcome}"), format!("count 1: {count} at 2")];
        assert_eq!(world.ended(1, "1.0#1", end), expected);
    }
}

#[test]
fn a_job_is_cancelled_in_all_its_parts() {
    let mut world = World::with_worker(2);
    let expected = [
        "job 1 x5 at 0",
        "placed 1.0#1 on 1 at 0: assigned",
        "placed 1.1#1 on 1 at 0: assigned",
        "to s1: start 1.0#1",
        "to s1: start 1.1#1",
        "answer: submitted 1",
    ];
    assert_eq!(world.submit(5, |_| ()), expected);
    assert_eq!(world.started(1, "1.1#1"), ["moved 1.1#1 on 1 at 0: running since 0"]);
    let expected = ["ended 1.3..4 in queue at 0: cancelled by ann", "count 1: 1 cancelled; open", "answer: done"];
    assert_eq!(world.cancel_task("1.3"), expected);
    let expected = [
        "moved 1.0#1 on 1 at 0: cancelling since 0 until 40 for ann, no start",
        "moved 1.1#1 on 1 at 0: cancelling since 0 until 40 for ann, start 0",
        "ended 1.2..3 in queue at 0: cancelled by ann",
        "ended 1.4..5 in queue at 0: cancelled by ann",
        "count 1: 3 cancelled; open",
        "to s1: stop 1.0#1",
        "to s1: stop 1.1#1",
        "answer: done",
    ];
    assert_eq!(world.cancel_job(1), expected);
    let expected = ["ended 1.0#1 on 1 at 0, no start, gone 0: cancelled by ann", "count 1: 4 cancelled; open"];
    assert_eq!(world.ended(1, "1.0#1", End::Refused), expected);
    let expected =
        ["ended 1.1#1 on 1 at 0, start 0, gone 0: exited 0", "count 1: 1 succeeded, 4 cancelled; cancelled at 0"];
    assert_eq!(world.ended(1, "1.1#1", End::Exited(0)), expected);
}

#[test]
fn one_job_of_several_is_cancelled() {
    let mut world = World::running();
    assert_eq!(world.submit(2, |_| ()), ["job 2 x2 at 0", "answer: submitted 2"]);
    assert_eq!(world.submit(1, |_| ()), ["job 3 x1 at 0", "answer: submitted 3"]);
    let expected =
        ["ended 2.0..2 in queue at 0: cancelled by ann", "count 2: 2 cancelled; cancelled at 0", "answer: done"];
    assert_eq!(world.cancel_job(2), expected);
    let expected = [
        "ended 1.0#1 on 1 at 0, start 0, gone 0: exited 0",
        "count 1: 1 succeeded; succeeded at 0",
        "placed 3.0#1 on 1 at 0: assigned",
        "to s1: start 3.0#1",
    ];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
}

#[test]
fn what_never_was_cannot_be_cancelled() {
    let mut world = World::running();
    for task in ["1.1", "2.0", "0.0"] {
        assert_eq!(world.cancel_task(task), ["answer: not live"]);
    }
    assert_eq!(world.cancel_job(2), ["answer: not live"]);
}

/// Task 1.0 runs since 0, has been cancelled at 1, and it is 2 now.
fn cancelling() -> World {
    let mut world = World::running();
    assert_eq!(world.pass(1), NOTHING);
    let expected =
        ["moved 1.0#1 on 1 at 0: cancelling since 1 until 41 for ann, start 0", "to s1: stop 1.0#1", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    assert_eq!(world.pass(1), NOTHING);
    world
}
