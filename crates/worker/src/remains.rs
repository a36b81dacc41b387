//! What a command leaves behind: found, killed, and waited for, before anything is said about its end.
//!
//! A process belongs to an attempt if it is in the group of the attempt's leader, in its cgroup, or if the directory in
//! its environment is the attempt's; and if it descends from such a one. A process can hide all of that. If all children
//! of this process are known to be its commands', one that hides is told by what else runs: it is the attempt's if no
//! other command was there before it.
//!
//! Most commands leave nothing, and are spared the search: see [`Children`].

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::children::{Children, Since};
use crate::group::Group;
use crate::hunt::{Hunt, Pass};
use crate::processes::{self, Mark, Stat};

/// How often what was killed and is still going is looked at: first, and at last, each wait twice the one before.
const POLL: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_secs(1);

/// How long an orphan is waited for of which it cannot be told yet whose it is; it takes a moment, unless the system is
/// stuck.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What an attempt's command may have left; its leader has exited, and was not waited for.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) children: Arc<Children>,
    pub(crate) group: Arc<Group>,
    pub(crate) cgroup: Option<Arc<Cgroup>>,
    /// The attempt's own directory.
    pub(crate) dir: PathBuf,
    /// When the leader was about to be started.
    pub(crate) begun: Instant,
}

/// What it took to end what a command had left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toll {
    /// How many processes had to be killed, of those that were not waited for by another one that was.
    pub(crate) killed: u32,
    /// The CPU time of those that were waited for, and the largest resident size of any one of them, in bytes.
    pub(crate) cpu: Duration,
    pub(crate) max_rss: u64,
}

#[derive(Debug)]
struct Search {
    remains: Remains,
    began: Instant,
    hunt: Hunt,
    toll: Toll,
    /// Whether the last pass found nothing.
    was_clean: bool,
}

impl Remains {
    /// Kills all there is, and waits until it has gone: for ever, if something is stuck in the system.
    pub(crate) async fn clear(self) -> Toll {
        let started = Since { number: self.leader().as_raw_pid(), at: self.begun };
        if self.is_clear_since(started) == Some(true) {
            return Toll::default();
        }
        let _clearing = self.children.clearing();
        let mut wait = POLL;
        let (began, hunt, toll) = (Instant::now(), Hunt::default(), Toll::default());
        let mut search = Search { remains: self, began, hunt, toll, was_clean: false };
        loop {
            let looking = move || {
                let pass = search.pass();
                (search, pass)
            };
            let pass = match tokio::task::spawn_blocking(looking).await {
                Ok((back, pass)) => {
                    search = back;
                    pass
                }
                Err(error) => {
                    tracing::error!(%error, "the search for what a command has left failed");
                    return Toll::default();
                }
            };
            match pass {
                None => return search.toll(),
                Some(Pass::Struck | Pass::Clean) => wait = POLL,
                Some(Pass::Dying) => {
                    tokio::time::sleep(wait).await;
                    if wait < POLL_MAX && wait * 2 >= POLL_MAX {
                        let leader = search.remains.leader().as_raw_pid();
                        tracing::warn!(leader, "what a command has left was killed, but is stuck in the system");
                    }
                    wait = (wait * 2).min(POLL_MAX);
                }
            }
        }
    }

    /// Whether nothing is left that has come since then, if that can be told at once.
    fn is_clear_since(&self, since: Since) -> Option<bool> {
        if self.cgroup.as_ref().is_some_and(|cgroup| cgroup.is_populated()) {
            return Some(false);
        }
        let unknown = self.children.unknown_since(since)?;
        Some(!unknown.iter().any(|stat| self.is_suspect(stat)))
    }

    fn is_suspect(&self, stat: &Stat) -> bool {
        if stat.group == self.leader().as_raw_pid() {
            return true;
        }
        if !stat.is_live {
            return false;
        }
        let mark = processes::mark(stat.pid);
        mark == Mark::Unsettled || self.owns(stat, &mark)
    }

    /// Whether an orphan, or what has this mark, is the attempt's.
    fn owns(&self, stat: &Stat, mark: &Mark) -> bool {
        if mark.is(&self.dir) {
            return true;
        }
        let attempts = self.dir.parent().unwrap_or(&self.dir);
        is_stray(&self.children, attempts, stat, mark) && !self.children.may_be_another_s(stat, Some(self.leader()))
    }

    fn leader(&self) -> Pid {
        self.group.id()
    }
}

impl Search {
    /// Looks at all processes once; nothing once there is nothing left. It takes its time.
    fn pass(&mut self) -> Option<Pass> {
        let before = self.remains.children.now();
        let census = match processes::census() {
            Ok(census) => census,
            Err(error) => {
                tracing::warn!(%error, "the processes cannot be listed");
                return Some(Pass::Dying);
            }
        };
        let remains = &self.remains;
        let leader = census.iter().find(|stat| stat.pid == remains.leader());
        let since = leader.map_or(0, |leader| leader.start);
        let members = remains.cgroup.as_ref().map(|cgroup| cgroup.members()).unwrap_or_default();
        let own = remains.children.own();
        let may_be = |stat: &Stat| stat.start >= since && stat.pid != own && !remains.children.is_known(stat.pid);
        let group = remains.leader().as_raw_pid();
        let is_member = |stat: &Stat| stat.group == group || members.contains(&stat.pid.as_raw_pid());
        let unsettled = Cell::new(census.iter().any(|stat| stat.is_live && may_be(stat) && is_member(stat)));
        let wanted = |stat: &Stat| {
            is_member(stat) || {
                let is_orphan = stat.parent == own.as_raw_pid() || stat.parent <= 1;
                let mark = if is_orphan { processes::settled_mark(stat.pid) } else { processes::mark(stat.pid) };
                let is_awaited = mark == Mark::Unsettled && is_orphan && self.began.elapsed() < SETTLE_TIMEOUT;
                unsettled.set(unsettled.get() || is_awaited);
                remains.owns(stat, &mark)
            }
        };
        let pass = self.hunt.strike(&census, may_be, wanted);
        let pass = if pass == Pass::Clean && unsettled.get() { Pass::Dying } else { pass };
        // These also end what is too quick to be counted.
        remains.group.kill_rest();
        if let Some(cgroup) = &remains.cgroup {
            cgroup.kill();
        }
        let reaped = self.reap(&census);
        let was_clean = std::mem::replace(&mut self.was_clean, pass == Pass::Clean && !reaped);
        // One may start another that this pass did not come to see, and end before it was seen itself.
        let nothing_since = || before.and_then(|before| self.remains.is_clear_since(before)) == Some(true);
        if self.was_clean && (was_clean || nothing_since()) { None } else { Some(pass) }
    }

    /// Waits for those of the attempt that have ended. Whether there were any: what they had started is our child now.
    fn reap(&mut self, census: &[Stat]) -> bool {
        let remains = &self.remains;
        let (own, leader) = (remains.children.own().as_raw_pid(), remains.leader());
        let mut any = false;
        for stat in census.iter().filter(|stat| !stat.is_live && stat.parent == own && stat.pid != leader) {
            let is_member = stat.group == leader.as_raw_pid();
            if !is_member && !self.hunt.has_struck(stat) {
                continue;
            }
            if let Some(reaped) = remains.children.reap(stat) {
                any = true;
                self.toll.cpu += reaped.cpu;
                self.toll.max_rss = self.toll.max_rss.max(reaped.max_rss);
                if is_member && remains.group.was_killed_by(reaped.status) {
                    self.hunt.count(stat);
                }
            }
        }
        any
    }

    fn toll(self) -> Toll {
        Toll { killed: u32::try_from(self.hunt.struck()).unwrap_or(u32::MAX), ..self.toll }
    }
}

/// Whether a process is an orphan of which nothing says which attempt's.
pub(crate) fn is_stray(children: &Children, attempts: &Path, stat: &Stat, mark: &Mark) -> bool {
    let is_orphan = children.exclusive() && stat.parent == children.own().as_raw_pid();
    is_orphan && *mark != Mark::Unsettled && !(mark.is_in(attempts) && mark.exists())
}
