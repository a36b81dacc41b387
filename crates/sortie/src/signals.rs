//! Signals: the first asks, the second insists.

use std::future::Future;
use std::pin::pin;

use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Result};

/// The number of SIGHUP, which `nohup` ignores.
const SIGHUP: u32 = 1;

/// The signals that ask a program to stop. From the first of these on, none of them ends the program by itself.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: Option<unix::Signal>,
}

/// A signal that asked, by the exit code that it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked(u8);

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> Result<Self> {
        let listen =
            |kind| unix::signal(kind).map_err(|error| Failure::internal(format!("cannot listen for signals: {error}")));
        let hangup = if hangup_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) };
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hangup })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Asked {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked(130),
            _ = self.terminate.recv() => Asked(143),
            _ = hangup => Asked(129),
        }
    }
}

impl Asked {
    /// The failure of a program that leaves at once because of it.
    pub(crate) fn failure(self) -> Failure {
        Failure::forced(self.0)
    }
}

/// Does `work` to its end. The first signal cancels `stop`, the second drops the work.
///
/// # Errors
/// When it was dropped.
pub(crate) async fn obeying<T>(
    mut signals: Signals,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T> {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done),
        _ = signals.next() => {
            tracing::info!("stopping; a second signal stops at once");
            stop.cancel();
        }
    }
    tokio::select! {
        done = work => Ok(done),
        asked = signals.next() => Err(asked.failure()),
    }
}

/// Whether whoever started this process wants it to outlive its terminal; listening would undo that.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, SIGHUP)
}

fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernel_s_mask() {
        assert!(ignores("Name:\tx\nSigIgn:\t0000000000001001\n", SIGHUP));
        assert!(!ignores("SigIgn:\t0000000000001000\n", SIGHUP));
        assert!(!ignores("", SIGHUP));
    }
}
