//! The master's clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sortie_engine::Time;

/// The wall clock's time at its start, carried on by the monotonic clock: a stepped wall clock moves no deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch: Time,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), epoch: Time::default() + since }
    }

    pub(crate) fn now(&self) -> Time {
        self.epoch + self.start.elapsed()
    }

    /// The moment of `time` on the runtime's clock.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + time.since(self.epoch))
    }
}
