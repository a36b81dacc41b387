//! A simulation: a real scheduler and real slots in a world that goes wrong, by chance and replayable by its seed.
//!
//! The master is killed before a commit, after it, and at any other time; connections delay, stall and are cut, and
//! either side may not notice; workers die with their processes and come back as new instances; every clock runs at
//! a rate of its own. What must hold is in `checks`: no process is alive once its task has ended, however it did; an
//! end says what the process did; what was acknowledged is there; and after the storm every task ends.
//!
//! `SORTIE_SIM_COUNT=n` tries n seeds, `SORTIE_SIM_SEED=n` replays one and tells everything that happens in it.

mod checks;
mod master;
mod network;
mod rng;
mod store;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

const SEEDS: u64 = 2_000;

#[test]
fn whatever_goes_wrong_the_promises_hold() {
    if let Some(seed) = switch("SORTIE_SIM_SEED") {
        return World::new(seed, true).run();
    }
    for seed in 0..switch("SORTIE_SIM_COUNT").unwrap_or(SEEDS) {
        try_one(seed);
    }
}

#[expect(clippy::print_stderr, reason = "whoever reads of a failure needs the seed")]
fn try_one(seed: u64) {
    let run = AssertUnwindSafe(|| World::new(seed, false).run());
    if let Err(failure) = catch_unwind(run) {
        eprintln!("this was seed {seed}: replay it with SORTIE_SIM_SEED={seed}");
        resume_unwind(failure);
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine reads nothing from outside; its test has two switches")]
fn switch(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
