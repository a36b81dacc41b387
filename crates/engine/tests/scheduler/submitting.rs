//! Submissions that are repeated, and more of them than may wait.

use sortie_engine::{End, Limits};

use crate::world::World;

#[test]
fn a_key_makes_one_job_before_it_is_on_disk_and_after() {
    let mut world = World::new();
    let lines = world.submit_many(&[("k", 1), ("k", 1), ("k", 2), ("other", 1)]);
    let jobs = ["job 1 x1 at 0", "job 2 x1 at 0"];
    let answers = ["answer: submitted 1", "answer: repeated 1", "answer: key taken by 1", "answer: submitted 2"];
    assert_eq!(lines, [jobs.as_slice(), &answers].concat());
    // From now on both are on disk, and known from there.
    assert_eq!(world.submit_many(&[("k", 1), ("k", 2)]), ["answer: repeated 1", "answer: key taken by 1"]);
    _ = world.restart();
    assert_eq!(world.submit_many(&[("other", 1)]), ["answer: repeated 2"]);
}

#[test]
fn a_key_that_nobody_knows_any_more_makes_another_job() {
    let mut world = World::new();
    assert_eq!(world.submit_many(&[("k", 1)]), ["job 1 x1 at 0", "answer: submitted 1"]);
    world.forget_keys();
    assert_eq!(world.submit_many(&[("k", 2)]), ["job 2 x2 at 0", "answer: submitted 2"]);
}

#[test]
fn no_more_jobs_wait_than_may() {
    let mut world = World::with_limits(Limits { max_jobs: 1, ..Limits::default() });
    assert_eq!(world.submit(5, |_| ()).len(), 2);
    assert_eq!(world.submit_many(&[("k", 1)]), ["answer: queue full"]);
    assert_eq!(world.cancel_job(1).len(), 3);
    assert_eq!(world.submit_many(&[("k", 1)]), ["job 2 x1 at 0", "answer: submitted 2"], "a refusal takes no key");
}

#[test]
fn no_more_bytes_wait_than_may() {
    let mut world = World::with_limits(Limits { max_spec_bytes: 10_000, ..Limits::default() });
    let large = |spec: &mut sortie_engine::TaskSpec| spec.stdin = Some("x".repeat(9_000));
    assert_eq!(world.submit(1, large).len(), 2);
    assert_eq!(world.refused(1, large), ["answer: queue full"]);
    assert_eq!(world.add_worker(crate::world::hello("a", 1)).len(), 2);
    assert_eq!(world.ended(1, "1.0#1", End::Exited(0)).len(), 2);
    assert_eq!(world.submit(1, large).len(), 4);
}
