//! Attempts that are followed by others: by policy, after a wait, and never on one that may still run.

use std::time::Duration;

use sortie_engine::{End, Hello, OnLost, Retry, TaskSpec, Why};

use crate::world::{LEASE_AND_MARGIN, NOTHING, QUEUE_TIMEOUT, TIMEOUT, World, hello};

/// Tries a failed command again, after a wait that is never more than a second.
fn twice(spec: &mut TaskSpec) {
    let second = Duration::from_secs(1);
    spec.retry = Retry { count: 2, backoff: second, max_backoff: second, ..Retry::default() };
}

/// Tries a lost attempt again, once.
fn once_more(spec: &mut TaskSpec) {
    twice(spec);
    spec.on_lost = OnLost::Retry;
    spec.max_lost = 1;
}

/// Worker 1 with one slot has been given task 1.0, whose policy is `change`.
fn given(change: fn(&mut TaskSpec)) -> World {
    let mut world = World::with_worker(1);
    assert_eq!(world.submit(1, change).len(), 4);
    world
}

/// The same, and it runs.
fn running(change: fn(&mut TaskSpec)) -> World {
    let mut world = given(change);
    assert_eq!(world.started(1, "1.0#1").len(), 1);
    world
}

/// Lets the wait pass before attempt `number`, which worker 1 is then given on `session`.
fn tried_again(world: &mut World, session: u64, number: u32) {
    let lines = world.oversleep(1);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("placed 1.0#{number} on 1")), "{lines:?}");
    assert_eq!(lines[1], format!("to s{session}: start 1.0#{number}"));
}

#[test]
fn a_command_that_fails_is_tried_again_until_its_policy_ends() {
    let mut world = running(twice);
    let lines = world.ended(1, "1.0#1", End::Exited(7));
    assert_eq!(lines, ["ended 1.0#1 on 1 at 0, start 0, gone 0: exited 7; again after 1 failed, 0 lost"]);
    tried_again(&mut world, 1, 2);
    let lines = world.ended(1, "1.0#2", End::TimedOut);
    assert!(lines[0].ends_with("timed out; again after 2 failed, 0 lost"), "{lines:?}");
    tried_again(&mut world, 1, 3);
    let lines = world.ended(1, "1.0#3", End::OutOfMemory);
    assert!(lines[0].ends_with(": out of memory") && lines[1].starts_with("count 1: 1 failed; failed"), "{lines:?}");
    assert_eq!(world.next_deadline_of_tasks(), None);
}

#[test]
fn a_command_that_succeeds_is_not_tried_again() {
    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    tried_again(&mut world, 1, 2);
    let lines = world.ended(1, "1.0#2", End::Exited(0));
    assert!(lines[0].ends_with("exited 0") && lines[1].starts_with("count 1: 1 succeeded; succeeded"), "{lines:?}");
}

#[test]
fn a_word_about_an_earlier_attempt_changes_nothing() {
    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    tried_again(&mut world, 1, 2);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), ["stale: 1"]);
    assert_eq!(world.started(1, "1.0#1"), ["to s1: stop 1.0#1", "stale: 1"]);
    assert!(world.holds(1, "1.0#2") && !world.holds(1, "1.0#1"));
}

#[test]
fn a_lost_attempt_is_followed_only_when_its_lease_is_over() {
    let mut world = running(once_more);
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.add_worker(hello("b", 1)), NOTHING);
    assert_eq!(world.pass(LEASE_AND_MARGIN - 1), NOTHING);
    let lines = world.pass(1);
    let lost = "ended 1.0#1 on 1 at 0, start 0, gone 20: lost, started Yes, LeaseEnded; again after 0 failed, 1 lost";
    assert_eq!(lines[0], lost);
    let lines = world.oversleep(1);
    assert!(lines[0].starts_with("placed 1.0#2 on 2"), "{lines:?}");
    // Worker 1 is back too late: what it still held is not its own.
    let lines = world.join_with(hello("a", 1), &[("1.0#1", 1, true)]);
    assert_eq!(lines.last().map(String::as_str), Some("answer: joined, kill 1.0#1"));
    assert!(world.holds(2, "1.0#2"));
}

#[test]
fn losses_are_counted_apart_and_only_as_often_as_allowed() {
    let mut world = running(once_more);
    let lines = world.ended(1, "1.0#1", End::WorkerStopped);
    assert!(lines[0].ends_with("WorkerStopped; again after 0 failed, 1 lost"), "{lines:?}");
    tried_again(&mut world, 1, 2);
    let lines = world.ended(1, "1.0#2", End::Exited(1));
    assert!(lines[0].ends_with("exited 1; again after 1 failed, 1 lost"), "{lines:?}");
    tried_again(&mut world, 1, 3);
    let lines = world.ended(1, "1.0#3", End::Abandoned);
    assert!(lines[0].ends_with("lost, started Unknown, WorkerDied"), "{lines:?}");
    assert!(lines[1].starts_with("count 1: 1 lost; lost"), "{lines:?}");
}

#[test]
fn what_never_started_is_tried_again_whatever_the_policy() {
    let mut world = given(|_| ());
    let lines = world.ended(1, "1.0#1", End::Refused);
    let expected =
        "ended 1.0#1 on 1 at 0, no start, gone 0: lost, started No, WorkerStopped; again after 0 failed, 0 lost";
    assert_eq!(lines, [expected]);
    tried_again(&mut world, 1, 2);
}

#[test]
fn an_order_that_its_worker_never_received_is_no_loss() {
    let mut world = given(|_| ());
    assert_eq!(world.disconnect(1).len(), 2);
    let lines = world.join(hello("a", 1));
    let expected = "ended 1.0#1 on 1 at 0, no start, gone 0: lost, started No, OrderLost; again after 0 failed, 0 lost";
    assert_eq!(lines[0], expected);
    assert_eq!(world.connect(2).len(), 2);
    tried_again(&mut world, 2, 2);
}

#[test]
fn an_order_that_was_lost_with_the_master_is_no_loss() {
    let mut world = given(|_| ());
    assert_eq!(world.restart().len(), 2);
    let lines = world.join(hello("a", 1));
    assert!(lines[0].ends_with("lost, started No, OrderLost; again after 0 failed, 0 lost"), "{lines:?}");
}

#[test]
fn a_cancelled_order_that_its_worker_never_received_is_cancelled() {
    let mut world = given(|_| ());
    assert_eq!(world.cancel_task("1.0").len(), 3);
    assert_eq!(world.disconnect(1).len(), 2);
    let lines = world.join(hello("a", 1));
    assert_eq!(lines[0], "ended 1.0#1 on 1 at 0, no start, gone 0: cancelled by ann");
}

#[test]
fn another_process_says_nothing_about_what_its_predecessor_received() {
    let other = || Hello { instance: "i2".into(), ..hello("a", 1) };
    let mut world = given(|_| ());
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.join(other()).len(), 2);
    assert_eq!(world.connect(2).len(), 2);
    // Nor does it when it joins again, or a new master has taken over.
    assert_eq!(world.disconnect(2).len(), 1);
    assert_eq!(world.join(other()).len(), 2);
    assert_eq!(world.restart().len(), 2);
    assert_eq!(world.join(other()).len(), 2);
    let lines = world.pass(LEASE_AND_MARGIN);
    let lost = lines.iter().find(|line| line.starts_with("ended 1.0#1")).expect("it is lost");
    assert!(lost.ends_with("lost, started Unknown, LeaseEnded"), "{lines:?}");
}

#[test]
fn what_has_started_was_received() {
    let mut world = running(|_| ());
    assert_eq!(world.disconnect(1).len(), 2);
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    assert_eq!(world.connect(2).len(), 2);
    let lines = world.pass(LEASE_AND_MARGIN);
    assert!(lines[0].ends_with("lost, started Yes, LeaseEnded"), "{lines:?}");
}

#[test]
fn an_introduction_that_was_overtaken_is_refused() {
    let mut world = World::with_worker(1);
    assert_eq!(world.join_as(hello("a", 1), 7, &[]).len(), 4);
    assert_eq!(world.connect(2).len(), 2);
    assert_eq!(world.submit(1, |_| ()).len(), 4);
    assert_eq!(world.join_as(hello("a", 1), 6, &[]), ["answer: refused, Outdated"]);
    assert_eq!(world.join_as(hello("a", 1), 7, &[]), ["answer: refused, Outdated"]);
    assert!(world.holds(2, "1.0#1"));
}

#[test]
fn an_attempt_that_may_still_run_is_not_followed_by_another() {
    let mut world = running(once_more);
    let lines = world.pass(TIMEOUT + 10 + 30);
    let expected = format!("ended 1.0#1 on 1 at 0, start 0, gone {}: lost, started Yes, Overdue", TIMEOUT + 40);
    assert_eq!(lines[0], expected);
    assert_eq!(world.next_deadline_of_tasks(), None);
}

#[test]
fn what_somebody_cancels_is_not_tried_again() {
    for end in [End::Exited(1), End::Stopped, End::Abandoned, End::Refused] {
        let mut world = running(once_more);
        assert_eq!(world.cancel_task("1.0").len(), 3);
        assert_eq!(world.ended(1, "1.0#1", end).len(), 2);
        assert_eq!(world.next_deadline_of_tasks(), None);
    }
}

#[test]
fn a_task_that_waits_for_another_attempt_is_cancelled_at_once() {
    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    let expected = ["given up 1.0 at 0: cancelled by ann", "count 1: 1 cancelled; cancelled at 0", "answer: done"];
    assert_eq!(world.cancel_task("1.0"), expected);
    assert_eq!(world.cancel_task("1.0"), ["answer: not live"]);
    assert_eq!(world.next_deadline_of_tasks(), None);

    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    assert_eq!(world.cancel_job(1), expected);
}

#[test]
fn a_task_that_waits_for_another_attempt_expires() {
    let mut world = running(twice);
    assert_eq!(world.drain("a").len(), 2);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    assert_eq!(world.oversleep(1), NOTHING);
    world.away(QUEUE_TIMEOUT - 2);
    assert!(world.explain("1.0").is_some());
    let lines = world.oversleep(2);
    let expected = ["given up 1.0 at 1001: expired", "count 1: 1 expired; expired at 1001"];
    assert!(lines.windows(2).any(|pair| pair == expected), "{lines:?}");
}

#[test]
fn a_task_is_held_back_before_it_is_ready() {
    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    assert_eq!(world.submit(1, |_| ()).len(), 4, "the room is somebody else's meanwhile");
    let explanation = world.explain("1.0").expect("it waits");
    assert!(matches!(explanation.why, Why::HeldBack { until } if until.0 <= 1_000), "{explanation:?}");
    assert_eq!(world.oversleep(1), NOTHING);
    let explanation = world.explain("1.0").expect("it waits");
    assert_eq!((explanation.why, explanation.ahead), (Why::Busy, 0));
}

#[test]
fn what_was_tried_before_goes_first() {
    let mut world = World::with_worker(1);
    assert_eq!(world.submit(3, twice).len(), 4);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 3, "1.1 has the room");
    assert_eq!(world.oversleep(1), NOTHING);
    assert_eq!(world.explain("1.2").map(|explanation| explanation.ahead), Some(1));
    let lines = world.ended(1, "1.1#1", End::Exited(0));
    assert_eq!(lines.last().map(String::as_str), Some("to s1: start 1.0#2"));
}

#[test]
fn a_new_master_goes_on_with_the_same_tries_and_waits() {
    let mut world = running(twice);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(7)).len(), 1);
    let before = world.snapshot();
    _ = world.restart();
    assert_eq!(world.snapshot().jobs, before.jobs);
    assert_eq!(world.join(hello("a", 1)).len(), 2);
    assert_eq!(world.connect(2).len(), 2);
    tried_again(&mut world, 2, 2);
}

#[test]
fn chance_is_in_the_seed_alone() {
    let waits = |seed: u64| {
        let mut world = World::with_seed(seed);
        let long = |spec: &mut TaskSpec| {
            let hour = Duration::from_secs(3600);
            spec.retry = Retry { count: 1, backoff: hour, max_backoff: hour, ..Retry::default() };
        };
        assert_eq!(world.submit(20, long).len(), 1 + 20 + 20 + 1);
        for index in 0..20 {
            assert_eq!(world.ended(1, &format!("1.{index}#1"), End::Exited(1)).len(), 1);
        }
        let job = &world.snapshot().jobs[0];
        job.again.values().map(|again| again.not_before.0).collect::<Vec<_>>()
    };
    assert_eq!(waits(5), waits(5));
    assert_ne!(waits(5), waits(6));
    let mut spread = waits(5);
    spread.sort_unstable();
    spread.dedup();
    assert!(spread.len() > 15 && spread[0] < 900_000 && spread[spread.len() - 1] > 2_700_000, "{spread:?}");
}
