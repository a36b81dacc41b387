//! Reports that do not fit are counted, and change nothing.

use sortie_engine::End;

use crate::world::{NOTHING, World, hello};

const STALE: [&str; 1] = ["stale: 1"];

#[test]
fn another_attempt_than_the_live_one_is_nobodys() {
    for attempt in ["1.0#0", "1.0#2"] {
        let mut world = World::running();
        let before = world.snapshot();
        assert!(!world.holds(1, attempt) && world.holds(1, "1.0#1"));
        assert_eq!(world.ended(1, attempt, End::Exited(0)), STALE);
        assert_eq!(world.started(1, attempt), [format!("to s1: stop {attempt}"), "stale: 1".to_owned()]);
        assert_eq!(world.snapshot(), before);
    }
}

#[test]
fn another_workers_task_is_not_its_own() {
    let mut world = World::running();
    assert_eq!(world.add_worker(hello("b", 1)), NOTHING);
    let before = world.snapshot();
    assert!(!world.holds(2, "1.0#1"));
    assert_eq!(world.ended(2, "1.0#1", End::Exited(0)), STALE);
    assert_eq!(world.started(2, "1.0#1"), ["to s2: stop 1.0#1", "stale: 1"]);
    assert_eq!(world.snapshot(), before);
}

#[test]
fn an_unknown_task_is_stopped_if_it_runs() {
    let mut world = World::running();
    let before = world.snapshot();
    for attempt in ["1.1#1", "7.0#1"] {
        assert_eq!(world.ended(1, attempt, End::TimedOut), STALE);
        assert_eq!(world.started(1, attempt), [format!("to s1: stop {attempt}"), "stale: 1".to_owned()]);
    }
    assert_eq!(world.snapshot(), before);
}

#[test]
fn an_unknown_session_says_nothing_that_counts() {
    let mut world = World::running();
    let before = world.snapshot();
    assert!(!world.holds(9, "1.0#1"));
    assert_eq!(world.ended(9, "1.0#1", End::Exited(0)), STALE);
    assert_eq!(world.started(9, "1.0#1"), ["to s9: stop 1.0#1", "stale: 1"]);
    assert_eq!(world.leaving(9), STALE);
    assert_eq!(world.disconnect(9), NOTHING);
    assert_eq!(world.snapshot(), before);
}

#[test]
fn a_second_start_moves_nothing() {
    let mut world = World::running();
    assert_eq!(world.pass(5), NOTHING);
    let before = world.snapshot();
    assert_eq!(world.started(1, "1.0#1"), STALE);
    assert_eq!(world.snapshot(), before);
    let expected =
        ["moved 1.0#1 on 1 at 0: cancelling since 5 until 45 for ann, start 0", "to s1: stop 1.0#1", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.started(1, "1.0#1"), STALE);
}

#[test]
fn a_second_end_ends_nothing() {
    let mut world = World::running();
    let expected = ["ended 1.0#1 on 1 at 0, start 0, gone 0: exited 1", "count 1: 1 failed; failed at 0"];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(1)), expected);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), STALE);
    assert_eq!(world.started(1, "1.0#1"), ["to s1: stop 1.0#1", "stale: 1"]);
}

#[test]
fn a_word_after_the_attempt_was_given_up_is_too_late() {
    let mut world = World::assigned();
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 30: lost, started Unknown, Overdue",
        "count 1: 1 lost; lost at 30",
        "to s1: stop 1.0#1",
    ];
    assert_eq!(world.pass(30), expected);
    assert_eq!(world.started(1, "1.0#1"), ["to s1: stop 1.0#1", "stale: 1"]);
    assert_eq!(world.ended(1, "1.0#1", End::Stopped), STALE);
}
