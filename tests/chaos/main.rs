//! Chaos: a master and two workers are killed, frozen, stopped, restarted and cut off from each other while they work.
//!
//! Nothing that Sortie says is believed. Every command holds a lock for as long as anything of it lives, and writes its
//! start and its end, with its attempt, to a file: two attempts of one task at the same time, an attempt that nobody
//! knows of, and an end that was not so are seen there. The client submits under keys, and tries again until it is told
//! that a task is taken; from then on the task must come to one end.
//!
//! `SORTIE_CHAOS_ROUNDS=200 SORTIE_CHAOS_TASKS=2000` is the long run, `SORTIE_CHAOS_SEED=n` makes the same faults again.

mod client;
mod faults;
mod fleet;
mod ledger;
#[expect(dead_code, reason = "the smoke tests use the rest")]
#[path = "../smoke/process.rs"]
mod process;
mod proxy;
#[expect(dead_code, reason = "the smoke tests use the rest")]
#[path = "../smoke/sandbox.rs"]
mod sandbox;

use std::time::Instant;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use client::Client;
use faults::Faults;
use fleet::Fleet;
use ledger::Ledger;

/// How often something goes wrong unless SORTIE_CHAOS_ROUNDS says otherwise.
const ROUNDS: u64 = 40;
/// How many tasks there are unless SORTIE_CHAOS_TASKS says otherwise.
const TASKS: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "whoever reads of a failure needs the seed, and the figures are the result")]
async fn whatever_breaks_nothing_is_lost_and_nothing_runs_twice() -> Result<()> {
    let (rounds, tasks) = (switch("SORTIE_CHAOS_ROUNDS", ROUNDS), switch("SORTIE_CHAOS_TASKS", TASKS));
    let seed = switch("SORTIE_CHAOS_SEED", u64::from(std::process::id()));
    eprintln!("{rounds} rounds of SORTIE_CHAOS_SEED={seed} with {tasks} tasks under way");
    let begun = Instant::now();
    let mut fleet = Fleet::start().await?;
    let client = Client::new(fleet.http(), fleet.path("log"), fleet.path("locks"))?;
    let over = CancellationToken::new();
    let submitting = tokio::spawn(client.clone().submit_all(tasks, over.clone()));
    let mut faults = Faults::new(seed);
    for round in 0..rounds {
        faults.strike(&mut fleet, round).await?;
        assert_eq!(client.past_deadline().await.unwrap_or(0), 0, "tasks are past their deadlines in round {round}");
    }
    over.cancel();
    fleet.heal().await?;
    let ids = submitting.await??;
    let told = client.wait_for_all(&ids).await?;
    assert_eq!(client.past_deadline().await, Some(0));
    assert_eq!(client.known().await?, ids.len(), "what was acknowledged is all that there is");
    let ledger = Ledger::read(&fleet.path("log"))?;
    let summary = ledger.check(&told)?;
    fleet.check_nothing_is_left().await?;
    eprintln!("{} in {:.0} s: {faults}; {summary}", ids.len(), begun.elapsed().as_secs_f64());
    Ok(())
}

fn switch(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
