//! Killing processes by what they are, and with them whatever descends from them, until there is nothing left to kill.

use std::collections::{BTreeMap, BTreeSet};

use crate::processes::{Handle, Stat};

/// What has been killed so far.
#[derive(Debug, Default)]
pub(crate) struct Hunt {
    /// By number and start; and whether they could be.
    struck: BTreeMap<(i32, u64), bool>,
    /// Whether it was said that one cannot be killed.
    complained: bool,
}

/// What came of one look at all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// There was nothing to kill.
    Clean,
    /// Something was killed, and may have started something else before.
    Struck,
    /// Something that was killed before is still going.
    Dying,
}

impl Hunt {
    /// Kills those that are `wanted`, among those that `may_be`, and all that descends from them.
    ///
    /// `census` is older than the first blow, for it knows whose child each process was; `wanted` is asked about a
    /// process that is held, so that what it looks at is what will be killed.
    pub(crate) fn strike(
        &mut self,
        census: &[Stat],
        may_be: impl Fn(&Stat) -> bool,
        wanted: impl Fn(&Stat) -> bool,
    ) -> Pass {
        let live = || census.iter().filter(|stat| stat.is_live && may_be(stat));
        let (mut pass, mut found) = (Pass::Clean, BTreeSet::new());
        for stat in live() {
            if self.has_struck(stat) {
                pass = pass.and(Pass::Dying);
            }
            if let Some((handle, now)) = Handle::open(stat)
                && wanted(&now)
            {
                found.insert(stat.pid.as_raw_pid());
                pass = pass.and(self.kill(stat, &handle));
            }
        }
        let mut before = 0;
        while found.len() > before {
            before = found.len();
            for stat in live() {
                if found.contains(&stat.parent) && found.insert(stat.pid.as_raw_pid()) {
                    // One that has gone meanwhile may have left another.
                    let struck = Handle::open(stat).map_or(Pass::Struck, |(handle, _)| self.kill(stat, &handle));
                    pass = pass.and(struck);
                }
            }
        }
        pass
    }

    /// Whether this process was killed here.
    pub(crate) fn has_struck(&self, stat: &Stat) -> bool {
        self.struck.contains_key(&(stat.pid.as_raw_pid(), stat.start))
    }

    /// Counts a process that was killed here by other means.
    pub(crate) fn count(&mut self, stat: &Stat) {
        self.struck.insert((stat.pid.as_raw_pid(), stat.start), true);
    }

    /// How many processes were killed here.
    pub(crate) fn struck(&self) -> usize {
        self.struck.values().filter(|struck| **struck).count()
    }

    fn kill(&mut self, stat: &Stat, handle: &Handle) -> Pass {
        let pid = stat.pid.as_raw_pid();
        let killed = handle.kill();
        if let Err(error) = &killed
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(pid, %error, "what a command has left cannot be killed; waiting for its end");
        }
        let before = self.struck.insert((pid, stat.start), killed.is_ok());
        if before.is_none() { Pass::Struck } else { Pass::Dying }
    }
}

impl Pass {
    fn and(self, other: Pass) -> Pass {
        match (self, other) {
            (Pass::Struck, _) | (_, Pass::Struck) => Pass::Struck,
            (Pass::Dying, _) | (_, Pass::Dying) => Pass::Dying,
            (Pass::Clean, Pass::Clean) => Pass::Clean,
        }
    }
}
