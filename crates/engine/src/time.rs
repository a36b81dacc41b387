//! Time as the engine knows it: a number that comes in from outside.

use std::ops::Add;
use std::time::Duration;

/// A moment, in milliseconds since the Unix epoch.
///
/// The shells derive it from the monotonic clock plus the offset at their start, so that a stepped wall
/// clock moves no deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// How long ago `earlier` was; nothing if it is still to come.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(ms))
    }
}
