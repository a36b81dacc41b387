//! Whether the kernel killed a command because there was no memory left.
//!
//! It does not say so of a process, but it counts how often it has happened in a cgroup. An attempt that has no cgroup
//! of its own shares the worker's count: as many commands that died of KILL are put down to it as it has risen by while
//! they ran, and no more. Where nothing can be read, nothing is said.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::cgroup::{self, Hierarchy};

/// How much of the count's file is read, in bytes; it has a few short lines.
const READ_BYTES: usize = 4_096;

/// The count of the cgroup that this process is in.
#[derive(Debug)]
pub(crate) struct Memory {
    events: Option<File>,
    /// How many of those counted were put down to a command.
    explained: Mutex<u64>,
}

/// How things stood when a command was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    count: u64,
    explained: u64,
}

impl Memory {
    /// The count of this process' cgroup.
    pub(crate) fn own() -> Self {
        let of_1 = cgroup::own(Hierarchy::Memory).map(|dir| dir.join("memory.oom_control"));
        let of_2 = cgroup::own(Hierarchy::Unified).map(|dir| dir.join("memory.events"));
        let mut counts = of_1.into_iter().chain(of_2).map(|path| Memory::at(&path));
        let found = counts.find(|memory| memory.count().is_some());
        if found.is_none() {
            tracing::debug!("no cgroup counts what is killed for want of memory");
        }
        found.unwrap_or(Memory { events: None, explained: Mutex::default() })
    }

    /// The count in this file.
    pub(crate) fn at(events: &Path) -> Self {
        Memory { events: File::open(events).ok(), explained: Mutex::default() }
    }

    /// To be called before a command is started.
    pub(crate) fn before(&self) -> Option<Before> {
        let explained = *self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Before { count: self.count()?, explained })
    }

    /// Whether one that was killed since is not put down to a command yet; then it is put down to this one.
    pub(crate) fn explains(&self, before: Option<Before>) -> bool {
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((before, count)) = before.zip(self.count()) else { return false };
        let unexplained = count.saturating_sub(before.count) > *explained - before.explained;
        *explained += u64::from(unexplained);
        unexplained
    }

    fn count(&self) -> Option<u64> {
        let mut chunk = [0; READ_BYTES];
        let read = self.events.as_ref()?.read_at(&mut chunk, 0).ok()?;
        cgroup::value(&String::from_utf8_lossy(chunk.get(..read)?), "oom_kill")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn as_many_are_explained_as_were_counted_since() {
        let dir = tempfile::tempdir().expect("a directory");
        let events = dir.path().join("memory.events");
        let counts = |n: u32| fs::write(&events, format!("low 0\noom 9\noom_kill {n}\n")).expect("a file");
        counts(5);
        let memory = Memory::at(&events);
        let (first, second) = (memory.before(), memory.before());
        assert!(!memory.explains(first), "nothing was killed since");
        counts(6);
        let late = memory.before();
        assert!(memory.explains(first));
        assert!(!memory.explains(second), "that was the first");
        assert!(!memory.explains(late), "that was before it");
        counts(8);
        assert!(memory.explains(late) && memory.explains(second) && !memory.explains(first));
    }

    #[test]
    fn what_cannot_be_read_explains_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let events = dir.path().join("memory.events");
        let memory = Memory::at(&events);
        assert!(memory.before().is_none() && !memory.explains(None));
        fs::write(&events, "under_oom 0\n").expect("a file");
        assert!(Memory::at(&events).before().is_none());
    }
}
