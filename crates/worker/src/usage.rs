//! What a command used.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use sortie_engine::Usage;

use crate::remains::Toll;
use crate::sys::Reaped;

/// By how much the system's count of a process' resident size may be off: a share of it, and this many bytes.
const SLACK_SHARE: u64 = 16;
const SLACK_BYTES: u64 = 1024 * 1024;

/// Tells what commands used.
///
/// A command begins as a copy of this process that shares its memory, and the system counts that as the command's: no
/// command seems to take less than this process ever has. What is no more than that says nothing about the command, and
/// is left at 0.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The largest resident size of this process so far, as it was last looked up, in bytes.
    own_peak: AtomicU64,
}

impl Meter {
    /// What a command used whose leader was waited for, and what it took to end what that had left.
    pub(crate) fn usage(&self, leader: Option<&Reaped>, killed: bool, toll: &Toll) -> Usage {
        let (cpu, max_rss) = leader.map_or_else(Default::default, |leader| (leader.cpu, leader.max_rss));
        Usage {
            cpu: cpu + toll.cpu,
            max_rss: self.of_the_command(max_rss.max(toll.max_rss)),
            killed: toll.killed.saturating_add(u32::from(killed)),
        }
    }

    /// A peak only grows: what the one that is known explains need not be looked up again.
    fn of_the_command(&self, max_rss: u64) -> u64 {
        let is_own = |peak: u64| max_rss <= peak + peak / SLACK_SHARE + SLACK_BYTES;
        if is_own(self.own_peak.load(Ordering::Relaxed)) {
            return 0;
        }
        let peak = own_peak();
        self.own_peak.store(peak, Ordering::Relaxed);
        if is_own(peak) { 0 } else { max_rss }
    }
}

/// The largest resident size of this process so far, in bytes.
fn own_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_size_that_may_be_this_process_own_is_not_the_command_s() {
        let peak = own_peak();
        assert!(peak > 0);
        let meter = Meter::default();
        let size = |max_rss| {
            let leader = Reaped { status: ExitStatus::from_raw(0), cpu: Duration::from_millis(3), max_rss };
            let toll = Toll { killed: 2, cpu: Duration::from_millis(4), max_rss: 1 };
            let usage = meter.usage(Some(&leader), true, &toll);
            assert_eq!((usage.cpu, usage.killed), (Duration::from_millis(7), 3));
            usage.max_rss
        };
        assert_eq!(size(peak / 2), 0);
        assert_eq!(size(1 << 40), 1 << 40);
        assert_eq!(meter.usage(None, false, &Toll::default()), Usage::default());
    }
}
