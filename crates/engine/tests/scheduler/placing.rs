//! Which task goes to which worker, and when.

use sortie_engine::{End, TaskSpec};

use crate::world::{NOTHING, World, hello, labelled};

#[test]
fn without_a_worker_a_submission_waits() {
    let mut world = World::new();
    assert_eq!(world.submit(3, |_| ()), ["job 1 x3 at 0", "answer: submitted 1"]);
    assert_eq!(world.wake(), NOTHING);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.jobs[0].waiting.len(), snapshot.active.len(), snapshot.next_job.0), (3, 0, 2));
}

#[test]
fn with_a_worker_a_submission_is_placed_at_once() {
    let mut world = World::with_worker(2);
    assert_eq!(world.pass(5), NOTHING);
    let lines = world.submit(1, |_| ());
    let placed = "placed 1.0#1 on 1 at 5: assigned";
    assert_eq!(lines, ["job 1 x1 at 5", placed, "to s1: start 1.0#1", "answer: submitted 1"]);
    assert!(world.holds(1, "1.0#1"));
}

#[test]
fn a_worker_that_connects_takes_what_waits_as_far_as_it_has_room() {
    let mut world = World::new();
    assert_eq!(world.submit(3, |_| ()), ["job 1 x3 at 0", "answer: submitted 1"]);
    let expected = [
        "placed 1.0#1 on 1 at 0: assigned",
        "placed 1.1#1 on 1 at 0: assigned",
        "to s1: start 1.0#1",
        "to s1: start 1.1#1",
    ];
    assert_eq!(world.add_worker(hello("a", 2)), expected);
}

#[test]
fn an_array_is_placed_as_room_comes_free() {
    let mut world = World::with_worker(1);
    let expected = ["job 1 x3 at 0", "placed 1.0#1 on 1 at 0: assigned", "to s1: start 1.0#1", "answer: submitted 1"];
    assert_eq!(world.submit(3, |_| ()), expected);
    assert_eq!(world.pass(1), NOTHING);
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 1: exited 0",
        "count 1: 1 succeeded; open",
        "placed 1.1#1 on 1 at 1: assigned",
        "to s1: start 1.1#1",
    ];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
    assert_eq!(world.pass(1), NOTHING);
    let expected = [
        "ended 1.1#1 on 1 at 1, no start, gone 2: exited 0",
        "count 1: 2 succeeded; open",
        "placed 1.2#1 on 1 at 2: assigned",
        "to s1: start 1.2#1",
    ];
    assert_eq!(world.ended(1, "1.1#1", End::Exited(0)), expected);
    let expected = ["ended 1.2#1 on 1 at 2, no start, gone 2: exited 0", "count 1: 3 succeeded; succeeded at 2"];
    assert_eq!(world.ended(1, "1.2#1", End::Exited(0)), expected);
    assert!(world.snapshot().jobs.is_empty());
}

#[test]
fn higher_priority_goes_first_and_within_one_the_older_job() {
    let mut world = World::new();
    for (job, priority) in [(1, 0), (2, 5), (3, -1), (4, 5)] {
        let lines = world.submit(1, |spec| spec.priority = priority);
        assert_eq!(lines, [format!("job {job} x1 at 0"), format!("answer: submitted {job}")]);
    }
    assert_eq!(world.add_worker(hello("a", 1)), ["placed 2.0#1 on 1 at 0: assigned", "to s1: start 2.0#1"]);
    for (ends, next) in [(2, 4), (4, 1), (1, 3)] {
        let expected = [
            format!("ended {ends}.0#1 on 1 at 0, no start, gone 0: exited 0"),
            format!("count {ends}: 1 succeeded; succeeded at 0"),
            format!("placed {next}.0#1 on 1 at 0: assigned"),
            format!("to s1: start {next}.0#1"),
        ];
        assert_eq!(world.ended(1, &format!("{ends}.0#1"), End::Exited(0)), expected);
    }
}

#[test]
fn priority_holds_across_classes_of_different_needs() {
    let mut world = World::new();
    assert_eq!(world.submit(1, |_| ()), ["job 1 x1 at 0", "answer: submitted 1"]);
    let lines = world.submit(1, |spec| (spec.needs.slots, spec.priority) = (2, 1));
    assert_eq!(lines, ["job 2 x1 at 0", "answer: submitted 2"]);
    let lines = world.submit(1, |spec| selector(spec, "gpu"));
    assert_eq!(lines, ["job 3 x1 at 0", "answer: submitted 3"]);
    let expected = [
        "placed 2.0#1 on 1 at 0: assigned",
        "placed 1.0#1 on 1 at 0: assigned",
        "placed 3.0#1 on 1 at 0: assigned",
        "to s1: start 2.0#1",
        "to s1: start 1.0#1",
        "to s1: start 3.0#1",
    ];
    assert_eq!(world.add_worker(labelled("a", 5, "gpu")), expected);
}

#[test]
fn a_selector_finds_its_worker_and_holds_nobody_else_up() {
    let mut world = World::with_worker(1);
    let lines = world.submit(1, |spec| selector(spec, "zone=b"));
    assert_eq!(lines, ["job 1 x1 at 0", "answer: submitted 1"]);
    let expected = ["job 2 x1 at 0", "placed 2.0#1 on 1 at 0: assigned", "to s1: start 2.0#1", "answer: submitted 2"];
    assert_eq!(world.submit(1, |_| ()), expected);
    let lines = world.add_worker(labelled("b", 1, "zone=b"));
    assert_eq!(lines, ["placed 1.0#1 on 2 at 0: assigned", "to s2: start 1.0#1"]);
}

#[test]
fn a_wide_task_waits_for_a_worker_with_all_its_slots_free() {
    let mut world = World::with_worker(3);
    let expected = ["job 1 x1 at 0", "placed 1.0#1 on 1 at 0: assigned", "to s1: start 1.0#1", "answer: submitted 1"];
    assert_eq!(world.submit(1, |spec| spec.needs.slots = 2), expected);
    assert_eq!(world.submit(1, |spec| spec.needs.slots = 3), ["job 2 x1 at 0", "answer: submitted 2"]);
    // One slot is free: too few for another wide task, enough for a narrow one.
    assert_eq!(world.submit(1, |spec| spec.needs.slots = 2), ["job 3 x1 at 0", "answer: submitted 3"]);
    let expected = ["job 4 x1 at 0", "placed 4.0#1 on 1 at 0: assigned", "to s1: start 4.0#1", "answer: submitted 4"];
    assert_eq!(world.submit(1, |_| ()), expected);
    let expected = [
        "ended 1.0#1 on 1 at 0, no start, gone 0: exited 0",
        "count 1: 1 succeeded; succeeded at 0",
        "placed 3.0#1 on 1 at 0: assigned",
        "to s1: start 3.0#1",
    ];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
    let expected = ["ended 4.0#1 on 1 at 0, no start, gone 0: exited 0", "count 4: 1 succeeded; succeeded at 0"];
    assert_eq!(world.ended(1, "4.0#1", End::Exited(0)), expected);
    let expected = [
        "ended 3.0#1 on 1 at 0, no start, gone 0: exited 0",
        "count 3: 1 succeeded; succeeded at 0",
        "placed 2.0#1 on 1 at 0: assigned",
        "to s1: start 2.0#1",
    ];
    assert_eq!(world.ended(1, "3.0#1", End::Exited(0)), expected);
}

#[test]
fn tasks_are_spread_by_the_most_free_slots_and_then_by_the_older_worker() {
    let mut world = World::with_worker(2);
    assert_eq!(world.add_worker(hello("b", 3)), NOTHING);
    let lines = world.submit(6, |_| ());
    let (placed, orders) = (&lines[1..6], &lines[6..11]);
    let workers: Vec<_> = placed.iter().map(|line| line.split(' ').nth(3).expect("a worker")).collect();
    assert_eq!(workers, ["2", "1", "2", "1", "2"]);
    let sessions: Vec<_> = orders.iter().map(|line| line.split(':').next().expect("a session")).collect();
    assert_eq!(sessions, ["to s2", "to s1", "to s2", "to s1", "to s2"]);
    assert_eq!((lines[0].as_str(), lines[11].as_str(), lines.len()), ("job 1 x6 at 0", "answer: submitted 1", 12));
}

fn selector(spec: &mut TaskSpec, selector: &str) {
    spec.needs.selector = selector.parse().expect("a selector");
}
