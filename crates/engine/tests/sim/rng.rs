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

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }
}

impl Clock {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Clock { offset: rng.range(1_000_000, 2_000_000), per_mille: rng.range(990, 1011) }
    }

    /// What it shows at `now`.
    pub(crate) fn at(self, now: u64) -> Time {
        Time(self.offset + now * self.per_mille / 1000)
    }

    /// The first moment at which it shows `time`.
    pub(crate) fn when(self, time: Time) -> u64 {
        (time.0.saturating_sub(self.offset) * 1000).div_ceil(self.per_mille)
    }
}
