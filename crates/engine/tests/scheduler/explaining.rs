//! Why a task is not running.

use sortie_engine::{Explanation, Needs, StateName, Why};

use crate::world::{NOTHING, World, hello, labelled};

/// The counts of an explanation: connected, of these matching, large enough, open.
fn counts(explanation: &Explanation) -> [u32; 4] {
    let Explanation { connected, matching, large_enough, open, .. } = *explanation;
    [connected, matching, large_enough, open]
}

fn explain(world: &World, task: &str) -> (StateName, Why, u32, [u32; 4]) {
    let explanation = world.explain(task).expect("a live task");
    (explanation.state, explanation.why, explanation.ahead, counts(&explanation))
}

#[test]
fn each_reason_in_turn_until_the_task_is_held() {
    let mut world = World::new();
    let lines = world.submit(1, |spec| spec.needs = Needs { slots: 2, selector: "gpu".parse().expect("a selector") });
    assert_eq!(lines, ["job 1 x1 at 0", "answer: submitted 1"]);
    assert_eq!(explain(&world, "1.0"), (StateName::Queued, Why::NoWorker, 0, [0, 0, 0, 0]));
    assert_eq!(world.join(hello("a", 4)).len(), 2);
    assert_eq!(explain(&world, "1.0"), (StateName::Queued, Why::NoWorker, 0, [0, 0, 0, 0]));
    assert_eq!(world.connect(1), ["worker 1 a/i1 x4: open, connected s1 since 0", "answer: done"]);
    assert_eq!(explain(&world, "1.0"), (StateName::Queued, Why::NoMatch, 0, [1, 0, 0, 0]));
    assert_eq!(world.add_worker(labelled("b", 1, "gpu")), NOTHING);
    assert_eq!(explain(&world, "1.0"), (StateName::Queued, Why::TooSmall, 0, [2, 1, 0, 0]));
    assert_eq!(world.join(labelled("c", 2, "gpu")).len(), 2);
    assert_eq!(world.drain("c").len(), 2);
    assert_eq!(world.connect(3).len(), 2);
    assert_eq!(explain(&world, "1.0"), (StateName::Queued, Why::Draining, 0, [3, 2, 1, 0]));
    let placed = ["placed 1.0#1 on 3 at 0: assigned", "to s3: start 1.0#1"];
    assert_eq!(world.undrain("c")[1..3], placed);
    assert_eq!(explain(&world, "1.0"), (StateName::Assigned, Why::Held, 0, [3, 2, 1, 1]));
}

#[test]
fn busy_workers_and_how_many_tasks_go_first() {
    let mut world = World::running();
    assert_eq!(world.submit(5, |_| ()).len(), 2);
    assert_eq!(world.submit(3, |spec| spec.priority = 1).len(), 2);
    assert_eq!(world.submit(2, |_| ()).len(), 2);
    assert_eq!(world.submit(9, |spec| spec.needs.slots = 2).len(), 2);
    assert_eq!(world.cancel_task("2.1").len(), 3);
    let busy = |ahead| (StateName::Queued, Why::Busy, ahead, [1, 1, 1, 1]);
    assert_eq!(explain(&world, "3.0"), busy(0));
    assert_eq!(explain(&world, "3.2"), busy(2));
    assert_eq!(explain(&world, "2.0"), busy(3));
    assert_eq!(explain(&world, "2.4"), busy(3 + 3));
    assert_eq!(explain(&world, "4.1"), busy(3 + 4 + 1));
    assert_eq!(explain(&world, "5.1"), (StateName::Queued, Why::TooSmall, 1, [1, 1, 0, 0]));
}

#[test]
fn the_count_of_tasks_ahead_has_a_limit() {
    let mut world = World::new();
    assert_eq!(world.submit(150_000, |_| ()).len(), 2);
    assert_eq!(world.submit(1, |_| ()).len(), 2);
    let ahead = |task| world.explain(task).map(|explanation| explanation.ahead);
    assert_eq!(ahead("1.99999"), Some(99_999));
    assert_eq!((ahead("1.149999"), ahead("2.0")), (Some(100_000), Some(100_000)));
}

#[test]
fn what_a_worker_holds_is_explained_by_its_state() {
    let mut world = World::running();
    assert_eq!(explain(&world, "1.0"), (StateName::Running, Why::Held, 0, [1, 1, 1, 1]));
    assert_eq!(world.cancel_task("1.0").len(), 3);
    assert_eq!(explain(&world, "1.0"), (StateName::Cancelling, Why::Held, 0, [1, 1, 1, 1]));
    assert_eq!(world.leaving(1).len(), 2);
    assert_eq!(explain(&world, "1.0"), (StateName::Cancelling, Why::Held, 0, [0, 0, 0, 0]));
}

#[test]
fn what_is_not_live_is_not_explained() {
    let mut world = World::running();
    assert_eq!(world.submit(2, |_| ()).len(), 2);
    assert_eq!(world.cancel_task("2.0").len(), 3);
    for task in ["1.1", "2.0", "2.2", "3.0"] {
        assert_eq!(world.explain(task), None, "{task}");
    }
}
