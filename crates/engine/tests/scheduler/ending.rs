//! Started, and ended in every way; what becomes of the task and of its job.

use sortie_engine::{Counts, End, StateName, Tally};

use crate::world::{LEASE_AND_MARGIN, NOTHING, World};

#[test]
fn a_task_starts_and_ends() {
    let mut world = World::assigned();
    assert_eq!(world.pass(2), NOTHING);
    assert_eq!(world.started(1, "1.0#1"), ["moved 1.0#1 on 1 at 0: running since 2"]);
    assert_eq!(world.pass(3), NOTHING);
    let expected = ["ended 1.0#1 on 1 at 0, start 2, gone 5: exited 0", "count 1: 1 succeeded; succeeded at 5"];
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)), expected);
    assert!(!world.holds(1, "1.0#1"));
    assert_eq!((world.snapshot().jobs, world.snapshot().active), (vec![], vec![]));
    assert_eq!(world.next_deadline(), Some(LEASE_AND_MARGIN), "the worker's own is left");
}

#[test]
fn every_end_of_a_running_command_is_told_as_it_was() {
    let could_not = End::CouldNotStart { errno: 2, detail: "no such file".into() };
    let ends = [
        (End::Exited(0), "exited 0", "succeeded"),
        (End::Exited(3), "exited 3", "failed"),
        (End::Signaled(11), "signal 11", "failed"),
        (could_not, "could not start: 2 no such file", "failed"),
        (End::TimedOut, "timed out", "timed_out"),
        (End::Stopped, "lost, started Yes, WorkerStopped", "lost"),
        (End::Abandoned, "lost, started Yes, WorkerDied", "lost"),
        (End::WorkerStopped, "lost, started Yes, WorkerStopped", "lost"),
        (End::LeaseEnded, "lost, started Yes, LeaseEnded", "lost"),
        // It said that it ran: a refusal cannot take that back.
        (End::Refused, "lost, started Yes, WorkerStopped", "lost"),
    ];
    for (end, outcome, state) in ends {
        let mut world = World::running();
        let count = state.replace('_', " ");
        let expected =
            [format!("ended 1.0#1 on 1 at 0, start 0, gone 0: {outcome}"), format!("count 1: 1 {count}; {state} at 0")];
        assert_eq!(world.ended(1, "1.0#1", end), expected);
    }
}

#[test]
fn a_command_that_never_started_has_no_start() {
    let could_not = End::CouldNotStart { errno: 13, detail: "denied".into() };
    let ends = [
        (could_not, "could not start: 13 denied", "failed"),
        (End::Stopped, "lost, started Unknown, WorkerStopped", "lost"),
        (End::Abandoned, "lost, started Unknown, WorkerDied", "lost"),
    ];
    for (end, outcome, state) in ends {
        let mut world = World::assigned();
        let expected = [
            format!("ended 1.0#1 on 1 at 0, no start, gone 0: {outcome}"),
            format!("count 1: 1 {state}; {state} at 0"),
        ];
        assert_eq!(world.ended(1, "1.0#1", end), expected);
    }
}

#[test]
fn a_job_counts_its_ends_and_comes_to_the_worst() {
    let mut world = World::with_worker(4);
    let lines = world.submit(4, |_| ());
    assert_eq!((lines.len(), lines[0].as_str()), (1 + 4 + 4 + 1, "job 1 x4 at 0"));
    let steps = [
        ("1.2#1", End::Exited(0), "exited 0", "1 succeeded; open"),
        ("1.0#1", End::TimedOut, "timed out", "1 succeeded, 1 timed out; open"),
        ("1.3#1", End::Exited(1), "exited 1", "1 succeeded, 1 failed, 1 timed out; open"),
        ("1.1#1", End::Exited(0), "exited 0", "2 succeeded, 1 failed, 1 timed out; failed at 0"),
    ];
    for (attempt, end, outcome, count) in steps {
        let expected = [format!("ended {attempt} on 1 at 0, no start, gone 0: {outcome}"), format!("count 1: {count}")];
        assert_eq!(world.ended(1, attempt, end), expected);
    }
}

#[test]
fn the_worst_end_is_the_state_of_the_job() {
    let worst_last = ["succeeded", "cancelled", "expired", "lost", "timed_out", "failed"];
    let mut tally = Tally::default();
    for name in worst_last {
        let state = StateName::parse(name).expect("a state");
        tally.add(state, 2);
        assert_eq!(tally.worst(), state);
    }
    assert_eq!(tally.total(), 12);
    tally.add(StateName::Running, 7);
    assert_eq!(tally.total(), 12);
}

#[test]
fn a_job_is_queued_then_running_then_ended() {
    let ended = Tally { succeeded: 1, cancelled: 1, ..Tally::default() };
    let cases = [
        (Counts { queued: 2, ..Counts::default() }, StateName::Queued),
        (Counts { queued: 1, assigned: 1, ..Counts::default() }, StateName::Running),
        (Counts { running: 2, ..Counts::default() }, StateName::Running),
        (Counts { unreachable: 1, ..Counts::default() }, StateName::Running),
        (Counts { cancelling: 1, ended, ..Counts::default() }, StateName::Running),
        (Counts { queued: 1, ended, ..Counts::default() }, StateName::Running),
        (Counts { ended, ..Counts::default() }, StateName::Cancelled),
    ];
    for (counts, state) in cases {
        assert_eq!(counts.state(), state, "{counts:?}");
    }
}
