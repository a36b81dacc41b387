//! What goes wrong, by chance and repeatable by its seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::fleet::{Fleet, LEASE, Who};

/// How long a process is away, or the network is silent: mostly for a moment, at times for longer than any lease.
const MOMENT_MS: u64 = 700;
const LONG_MS: u64 = 6_000;
/// Between two rounds.
const PAUSE_MS: u64 = 400;

/// A source of chance, and a count of what it did.
pub(crate) struct Faults {
    state: u64,
    done: BTreeMap<&'static str, u32>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Faults {
        Faults { state: seed, done: BTreeMap::new() }
    }

    /// Lets one thing go wrong, and heals it after a while.
    pub(crate) async fn strike(&mut self, fleet: &mut Fleet, round: u64) -> Result<()> {
        let worker = Who::Worker(usize::from(self.chance(2) == 1));
        match self.chance(12) {
            0..=2 => self.kill(fleet, "kill -9 of the master", &[Who::Master]).await?,
            3..=5 => self.kill(fleet, "kill -9 of a worker", &[worker]).await?,
            6 => self.kill(fleet, "kill -9 of master and worker", &[Who::Master, worker]).await?,
            7 => {
                let ms = self.duration();
                self.freeze(fleet, "master frozen", Who::Master, ms).await?;
            }
            // An agent that is frozen for longer than its lease cannot kill: that is the written exception.
            8 => {
                let ms = self.chance(u64::try_from(LEASE.as_millis() / 2)?);
                self.freeze(fleet, "worker frozen", worker, ms).await?;
            }
            9 => self.disturb(fleet, worker).await?,
            10 => self.disturb(fleet, worker).await?,
            _ => {
                let who = if self.chance(2) == 0 { Who::Master } else { worker };
                self.replace(fleet, who).await?;
            }
        }
        tracing::debug!(round, "healed");
        let pause = self.chance(PAUSE_MS);
        wait(pause).await;
        // A process that could not start because its predecessor was still there is started now.
        fleet.heal().await
    }

    async fn kill(&mut self, fleet: &mut Fleet, what: &'static str, whom: &[Who]) -> Result<()> {
        self.count(what);
        for who in whom {
            fleet.signal(*who, Signal::KILL)?;
            fleet.ended(*who).await?;
        }
        wait(self.duration()).await;
        whom.iter().try_for_each(|who| fleet.raise(*who))
    }

    async fn freeze(&mut self, fleet: &mut Fleet, what: &'static str, who: Who, ms: u64) -> Result<()> {
        self.count(what);
        fleet.signal(who, Signal::STOP)?;
        wait(ms).await;
        fleet.signal(who, Signal::CONT)
    }

    /// Cuts a worker's connections, or lets nothing through for a while, and then cuts them or not.
    async fn disturb(&mut self, fleet: &mut Fleet, who: Who) -> Result<()> {
        let Who::Worker(index) = who else { return Ok(()) };
        if self.chance(2) == 0 {
            self.count("connection cut");
            fleet.workers[index].proxy.cut();
            return Ok(());
        }
        self.count("network silent");
        fleet.workers[index].proxy.silence(true);
        wait(self.duration()).await;
        if self.chance(2) == 0 {
            fleet.workers[index].proxy.cut();
        }
        fleet.workers[index].proxy.silence(false);
        Ok(())
    }

    /// Stops a process in order, and starts its successor.
    async fn replace(&mut self, fleet: &mut Fleet, who: Who) -> Result<()> {
        self.count("process replaced");
        fleet.signal(who, Signal::TERM)?;
        fleet.ended(who).await?;
        fleet.raise(who)
    }

    fn duration(&mut self) -> u64 {
        let most = if self.chance(4) == 0 { LONG_MS } else { MOMENT_MS };
        self.chance(most)
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// A number from 0 up to but not including `end` (SplitMix64, <https://doi.org/10.1145/2714064.2660195>).
    fn chance(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done: Vec<String> = self.done.iter().map(|(what, times)| format!("{times} {what}")).collect();
        f.write_str(&done.join(", "))
    }
}

/// Time is what this test is about: it waits for no fact.
async fn wait(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
