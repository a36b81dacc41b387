//! Chance that a number replays, and clocks that run apart.

use sortie_engine::Time;

/// SplitMix64.
pub(crate) struct Rng(u64);

/// A clock of its own: another start, and up to one percent faster or slower than the simulation's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: u64,
    per_mille: u64,
}

/// By how much a master's clock may be off its predecessor's.
const STEP_MS: u64 = 3_000;

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// The same, for small numbers.
    pub(crate) fn small(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.range(low.into(), high.into())).unwrap_or(low)
    }

    /// One of `count` places.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }

    /// Mostly up to `usual`, and in so many of a thousand cases up to `most`.
    pub(crate) fn mostly(&mut self, usual: u64, per_mille: u64, most: u64) -> u64 {
        if self.chance(per_mille) { self.range(usual, most) } else { self.range(0, usual) }
    }
}

impl Clock {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Clock { offset: rng.range(1_000_000, 2_000_000), per_mille: rng.range(990, 1011) }
    }

    /// A new process goes by the wall clock as it is now, and carries it on at a rate of its own.
    pub(crate) fn restarted(self, now: u64, rng: &mut Rng) -> Self {
        let (step, per_mille) = (rng.mostly(2, 200, 2 * STEP_MS), rng.range(990, 1011));
        let shows = if rng.chance(500) { self.at(now).0 + step / 2 } else { self.at(now).0 - step / 2 };
        Clock { offset: shows.saturating_sub(now * per_mille / 1000), per_mille }
    }

    /// What it shows at `now`.
    pub(crate) fn at(self, now: u64) -> Time {
        Time(self.offset + now * self.per_mille / 1000)
    }

    /// What it says of a moment, in seconds since the beginning.
    pub(crate) fn shown(self, time: Time) -> String {
        let ms = time.0 as f64 - self.offset as f64;
        format!("{:.3}", ms / 1000.0)
    }

    /// The first moment at which it shows `time`.
    pub(crate) fn when(self, time: Time) -> u64 {
        (time.0.saturating_sub(self.offset) * 1000).div_ceil(self.per_mille)
    }
}
