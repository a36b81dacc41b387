//! A simulation: a real scheduler and real slots in a world that goes wrong, by chance and replayable by its seed.
//!
//! The master is killed before a commit, after it, and at any other time, and its disk stalls; connections delay, stall
//! and are cut, and either side may not notice; introductions arrive late; workers are frozen, stopped and killed, and
//! leave a journal and a guard behind; machines die; two machines have one name; commands fail, hang, leave daemons and
//! start slowly; clients repeat what was not answered; every clock runs at a rate of its own. `faults` says which of it
//! happens in which history. What must hold is in `checks`, `records`, `policy` and `truth`.
//!
//! `SORTIE_SIM_COUNT=n` tries n seeds, `SORTIE_SIM_SEED=n` replays one and tells everything that happens in it:
//!
//! ```sh
//! SORTIE_SIM_COUNT=1000000 cargo test -p sortie-engine --test sim
//! SORTIE_SIM_SEED=4711 cargo test -p sortie-engine --test sim -- --nocapture
//! ```

mod world;
mod faults;
mod rng;
mod network;
mod clients;
mod master;
mod store;
mod machine;
mod journal;
mod link;
mod process;
mod checks;
mod records;
mod policy;
mod truth;
mod seen;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use seen::Seen;
use world::World;

/// How many seeds are tried.
const SEEDS: u64 = 20_000;

#[test]
fn whatever_goes_wrong_the_promises_hold() {
    if let Some(seed) = switch("SORTIE_SIM_SEED") {
        return World::new(seed, true).run();
    }
    let count = switch("SORTIE_SIM_COUNT").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let seen = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| try_all(&next, count))).collect();
        let mut seen = Seen::default();
        threads.into_iter().for_each(|thread| seen.add_all(thread.join().expect("no failure")));
        seen
    });
    tell(count, &seen);
    // What is rare need not happen in a short run.
    assert!(count < SEEDS || seen.missing().is_empty(), "never happened: {:?}", seen.missing());
}

/// Tries one seed after the other, until there are no more or one fails.
fn try_all(next: &AtomicU64, count: u64) -> Seen {
    let mut seen = Seen::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= count {
            return seen;
        }
        seen.add_all(try_one(seed, next));
    }
}

#[expect(clippy::print_stderr, reason = "whoever reads of a failure needs the seed")]
fn try_one(seed: u64, next: &AtomicU64) -> Seen {
    let mut world = World::new(seed, false);
    let run = AssertUnwindSafe(|| world.run());
    if catch_unwind(run).is_err() {
        // Nobody begins with another one.
        next.store(u64::MAX / 2, Ordering::Relaxed);
        eprintln!("this was seed {seed}: replay it with SORTIE_SIM_SEED={seed}");
        panic!("seed {seed} fails");
    }
    world.seen
}

#[expect(clippy::print_stdout, reason = "what has been tried is worth a look now and then")]
fn tell(count: u64, seen: &Seen) {
    println!("{count} histories: {seen:#?}");
}

#[expect(clippy::disallowed_methods, reason = "the engine reads nothing from outside; its test has two switches")]
fn switch(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
