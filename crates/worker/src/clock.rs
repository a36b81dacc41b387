//! The worker's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use sortie_engine::Time;
use tokio::time::Instant;

/// The monotonic clock, shown as wall-clock time by its offset at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch: Time,
}

impl Clock {
    /// A clock that is right now, and is never set again.
    pub(crate) fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), epoch: Time::default() + epoch }
    }

    /// What it shows.
    pub(crate) fn now(self) -> Time {
        self.epoch + self.start.elapsed()
    }

    /// Sleeps for ever if there is no such time, or none that the clock will ever show.
    pub(crate) async fn sleep_until(self, time: Option<Time>) {
        match time.and_then(|time| self.start.checked_add(time.since(self.epoch))) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}
