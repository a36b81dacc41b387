//! The children of this process: those that it has started, and those that it has come by.
//!
//! It is made the reaper of what its commands leave: a process whose parent has ended becomes a child of this one,
//! wherever it was in the tree, and whatever it has done to its group and session. So a child that is not known is what a
//! command has left, and as long as there is none, nothing has been.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::processes::{self, Stat};
use crate::sys::{self, Reaped};

/// The most processes that any machine starts in a second; used to tell whether numbers may have come round.
const MAX_STARTS_PER_SECOND: u64 = 100_000;

/// How many numbers are given out before they come round, where the system does not say.
const DEFAULT_NUMBERS: u64 = 32_768;

/// The most numbers that are tried one by one; to list all processes takes no longer.
const MAX_NUMBERS_TRIED: i32 = 4_096;

/// How often processes that were started in the meantime are looked at too.
const MAX_ROUNDS: u32 = 8;

/// How much of one of the system's files is read at once, in bytes.
const READ_BYTES: usize = 4_096;

/// What is known of the children of this process.
#[derive(Debug)]
pub(crate) struct Children {
    own: Pid,
    /// Whether orphans come to this process.
    adopts: bool,
    /// Whether this process has no children but its worker's.
    exclusive: bool,
    listing: Listing,
    known: Mutex<Known>,
}

/// How unknown children are found.
#[derive(Debug)]
enum Listing {
    /// The kernel lists them in this file (`CONFIG_PROC_CHILDREN`).
    File(File),
    /// The numbers that were given out since are tried, unless they may have come round in this time; the last one
    /// stands in this file.
    Numbers { round: Duration, last: File },
    /// All processes have to be looked at.
    None,
}

#[derive(Debug, Default)]
struct Known {
    /// When those starts began that are under way, in ticks since the machine was started: each may have made a child.
    starting: Vec<u64>,
    /// The first processes of commands.
    leaders: BTreeSet<i32>,
    /// Children that are no command's.
    helpers: BTreeSet<i32>,
    /// How many attempts are looking for what their commands have left.
    clearing: u32,
    /// Whether an attempt has passed over an orphan that may have been another's.
    is_doubtful: bool,
}

/// A moment, and the number that was given out last by then, or a little later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    pub(crate) number: i32,
    pub(crate) at: Instant,
}

/// What a child is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is the first process of a command.
    Leader,
    /// It serves the worker itself.
    Helper,
}

/// The announcement of a child that is about to be started.
#[derive(Debug)]
pub(crate) struct Starting {
    ticks: u64,
    children: Arc<Children>,
}

/// A child that is known for as long as this lives: until it has been waited for.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    children: Arc<Children>,
}

/// While it lives, what others have left is not touched.
#[derive(Debug)]
pub(crate) struct Clearing(Arc<Children>);

impl Children {
    /// Makes this process the reaper of orphans; `exclusive` says that it has no children but its worker's.
    pub(crate) fn new(exclusive: bool) -> Arc<Self> {
        let own = rustix::process::getpid();
        let adopted = rustix::process::set_child_subreaper(Some(own));
        if let Err(error) = &adopted {
            tracing::warn!(%error, "daemons that commands leave are looked for among all processes, which takes longer");
        }
        let (adopts, known) = (adopted.is_ok(), Mutex::default());
        Arc::new(Children { own, adopts, exclusive, listing: Listing::find(own), known })
    }

    /// This process.
    pub(crate) fn own(&self) -> Pid {
        self.own
    }

    /// Whether this process has no children but its worker's.
    pub(crate) fn exclusive(&self) -> bool {
        self.exclusive
    }

    /// To be called before a child is started, so that it is never taken for one that was left.
    pub(crate) fn starting(self: &Arc<Self>) -> Starting {
        let ticks = processes::ticks();
        self.known().starting.push(ticks);
        Starting { ticks, children: Arc::clone(self) }
    }

    /// To be called before an attempt looks for what its command has left.
    pub(crate) fn clearing(self: &Arc<Self>) -> Clearing {
        self.known().clearing += 1;
        Clearing(Arc::clone(self))
    }

    /// Whether this process has started it.
    pub(crate) fn is_known(&self, pid: Pid) -> bool {
        self.known().contains(pid)
    }

    /// Whether a command, other than that of `leader`, runs that may have started this process: one that was there before
    /// it; or whether this process may be one that is just being started. Who asks passes it over then.
    pub(crate) fn may_be_another_s(&self, stat: &Stat, leader: Option<Pid>) -> bool {
        let (may_be_starting, leaders) = {
            let known = self.known();
            (known.may_be_starting(stat), known.leaders.clone())
        };
        let others = leaders.into_iter().filter_map(Pid::from_raw).filter(|other| Some(*other) != leader);
        let mut others = others.filter_map(|other| processes::stat(other).ok().flatten());
        let may_be = may_be_starting || others.any(|other| other.start <= stat.start);
        if may_be {
            self.known().is_doubtful = true;
        }
        may_be
    }

    /// Whether an orphan was passed over since this was asked last, and nobody is looking for any now.
    pub(crate) fn take_doubt(&self) -> bool {
        let mut known = self.known();
        known.clearing == 0 && std::mem::take(&mut known.is_doubtful)
    }

    /// This moment, if it is of any use to remember it.
    pub(crate) fn now(&self) -> Option<Since> {
        let at = Instant::now();
        match &self.listing {
            Listing::File(_) => Some(Since { number: 0, at }),
            Listing::Numbers { last, .. } => Some(Since { number: last_number(&read_anew(last)?)?, at }),
            Listing::None => None,
        }
    }

    /// The children that this process has not started, zombies among them, and that may have come since then; nothing if
    /// that cannot be told without listing all processes.
    pub(crate) fn unknown_since(&self, since: Since) -> Option<Vec<Stat>> {
        if !self.adopts {
            return None;
        }
        match &self.listing {
            Listing::File(list) => self.listed(list),
            Listing::Numbers { round, last } if since.at.elapsed() < *round => self.tried(since.number, last),
            Listing::Numbers { .. } | Listing::None => None,
        }
    }

    /// Waits for a child that a command has left, if it has ended.
    pub(crate) fn reap(&self, stat: &Stat) -> Option<Reaped> {
        // Held for as long as it takes: no command that has just been given the number may lose its exit status.
        let known = self.known();
        if known.contains(stat.pid) { None } else { sys::reap(stat.pid).ok().flatten() }
    }

    /// Waits for a child of which nothing is known, if it has ended, and while nobody looks for what it has left.
    pub(crate) fn reap_stranger(&self, stat: &Stat) -> Option<Reaped> {
        let known = self.known();
        let may_reap =
            self.exclusive && known.clearing == 0 && !known.contains(stat.pid) && !known.may_be_starting(stat);
        if may_reap { sys::reap(stat.pid).ok().flatten() } else { None }
    }

    /// The list may miss one that comes after one that ends while it is read; nobody ends in both of two readings.
    fn listed(&self, list: &File) -> Option<Vec<Stat>> {
        let mut pids = numbers(&read_anew(list)?);
        if !pids.is_empty() {
            pids.extend(numbers(&read_anew(list)?));
        }
        let unknown = pids.into_iter().filter_map(Pid::from_raw).filter(|pid| !self.is_known(*pid));
        Some(unknown.filter_map(|pid| processes::stat(pid).ok().flatten()).collect())
    }

    /// Whatever a command has started has a later number than its leader. Who is started while this looks is looked at
    /// too, until nobody is: otherwise one could start another, which is not seen yet, and end before it is seen.
    fn tried(&self, since: i32, last: &File) -> Option<Vec<Stat>> {
        let (mut from, mut found) = (since, Vec::new());
        for _ in 0..MAX_ROUNDS {
            let last = last_number(&read_anew(last)?)?;
            if last == from {
                return Some(found);
            }
            if last < from || last - from > MAX_NUMBERS_TRIED {
                return None;
            }
            let pids = (from + 1..=last).filter_map(Pid::from_raw);
            let there = pids.filter(|pid| rustix::process::test_kill_process(*pid) != Err(Errno::SRCH));
            let unknown = there.filter(|pid| !self.is_known(*pid));
            let stats = unknown.filter_map(|pid| processes::stat(pid).ok().flatten());
            found.extend(stats.filter(|stat| stat.parent == self.own.as_raw_pid()));
            from = last;
        }
        None
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn contains(&self, pid: Pid) -> bool {
        self.leaders.contains(&pid.as_raw_pid()) || self.helpers.contains(&pid.as_raw_pid())
    }

    fn may_be_starting(&self, stat: &Stat) -> bool {
        self.starting.iter().any(|ticks| *ticks <= stat.start)
    }
}

impl Starting {
    /// The child is there.
    pub(crate) fn started(self, pid: Pid, role: Role) -> Child {
        let mut known = self.children.known();
        match role {
            Role::Leader => known.leaders.insert(pid.as_raw_pid()),
            Role::Helper => known.helpers.insert(pid.as_raw_pid()),
        };
        drop(known);
        Child { pid, children: Arc::clone(&self.children) }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut known = self.children.known();
        if let Some(at) = known.starting.iter().position(|ticks| *ticks == self.ticks) {
            known.starting.swap_remove(at);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut known = self.children.known();
        known.leaders.remove(&self.pid.as_raw_pid());
        known.helpers.remove(&self.pid.as_raw_pid());
    }
}

impl Drop for Clearing {
    fn drop(&mut self) {
        self.0.known().clearing -= 1;
    }
}

impl Listing {
    /// Orphans become children of this process' first thread, which is there for as long as the process.
    fn find(own: Pid) -> Self {
        if let Ok(list) = File::open(format!("/proc/{0}/task/{0}/children", own.as_raw_pid())) {
            return Listing::File(list);
        }
        let Ok(last) = File::open("/proc/loadavg") else { return Listing::None };
        let numbers = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
        let numbers = numbers.trim().parse().unwrap_or(DEFAULT_NUMBERS);
        let round = Duration::from_millis(numbers.saturating_mul(1_000) / MAX_STARTS_PER_SECOND);
        Listing::Numbers { round, last }
    }
}

/// Reads one of the system's files, which is written as it is read, from its beginning.
fn read_anew(file: &File) -> Option<String> {
    let (mut text, mut chunk) = (Vec::new(), [0; READ_BYTES]);
    loop {
        let read = file.read_at(&mut chunk, text.len() as u64).ok()?;
        text.extend_from_slice(chunk.get(..read)?);
        // What is shorter than the page that the system writes it to is whole.
        if read == 0 || text.len() < READ_BYTES {
            return String::from_utf8(text).ok();
        }
    }
}

fn numbers(text: &str) -> BTreeSet<i32> {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The number that was given out last, which ends the file.
fn last_number(load: &str) -> Option<i32> {
    load.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    impl Children {
        /// As where the kernel lists no children, and does not say what number it gave out last.
        pub(crate) fn blind() -> Arc<Self> {
            let seeing = Children::new(false);
            Arc::new(Children {
                own: seeing.own,
                adopts: true,
                exclusive: false,
                listing: Listing::None,
                known: Mutex::default(),
            })
        }

        fn listing(listing: Listing) -> Self {
            let known = Mutex::default();
            Children { own: rustix::process::getpid(), adopts: true, exclusive: false, listing, known }
        }
    }

    fn sleeper() -> process::Child {
        Command::new("/bin/sleep").arg("300").spawn().expect("a process")
    }

    fn end(mut child: process::Child) {
        child.kill().expect("it runs");
        child.wait().expect("a status");
    }

    fn found(children: &Children, since: &process::Child) -> Vec<Pid> {
        let since = Since { number: Pid::from_child(since).as_raw_pid(), at: Instant::now() };
        let stats = children.unknown_since(since).expect("an answer");
        stats.iter().map(|stat| stat.pid).collect()
    }

    #[test]
    fn children_are_found_by_their_numbers_unless_they_are_known() {
        let last = File::open("/proc/loadavg").expect("a file");
        let children = Arc::new(Children::listing(Listing::Numbers { round: Duration::MAX, last }));
        let (leader, second, third) = (sleeper(), sleeper(), sleeper());
        let pids = [&second, &third].map(Pid::from_child);
        // Numbers come round now and then.
        if pids.iter().all(|pid| pid.as_raw_pid() > Pid::from_child(&leader).as_raw_pid()) {
            let known = children.starting().started(pids[0], Role::Helper);
            let unknown = found(&children, &leader);
            assert!(!unknown.contains(&pids[0]) && unknown.contains(&pids[1]), "{unknown:?}");
            drop(known);
            assert!(found(&children, &leader).contains(&pids[0]));
            assert!(!found(&children, &second).contains(&pids[0]), "it is no later than itself");
        }
        [leader, second, third].into_iter().for_each(end);
    }

    #[test]
    fn numbers_that_may_have_come_round_say_nothing() {
        let last = File::open("/proc/loadavg").expect("a file");
        let children = Children::listing(Listing::Numbers { round: Duration::ZERO, last });
        let now = children.now().expect("a number");
        assert!(children.unknown_since(now).is_none());
        assert!(Children::listing(Listing::None).unknown_since(now).is_none());
    }

    #[test]
    fn children_are_found_in_the_kernel_s_list() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (sleeper(), sleeper());
        let pids = [&first, &second].map(Pid::from_child);
        let path = dir.path().join("children");
        fs::write(&path, format!("{} {} ", pids[0].as_raw_pid(), pids[1].as_raw_pid())).expect("a file");
        let children = Arc::new(Children::listing(Listing::File(File::open(&path).expect("a file"))));
        let _known = children.starting().started(pids[0], Role::Leader);
        assert_eq!(found(&children, &first), [pids[1]]);
        // More than is read at once.
        let many: Vec<String> = (0..4_000).map(|_| pids[1].as_raw_pid().to_string()).collect();
        fs::write(&path, many.join(" ")).expect("a file");
        assert_eq!(found(&children, &first), [pids[1]]);
        [first, second].into_iter().for_each(end);
    }

    #[test]
    fn whose_an_orphan_is_can_be_told_by_who_was_there_before_it() {
        let children = Arc::new(Children::listing(Listing::None));
        let (leader, other) = (sleeper(), sleeper());
        let [leader_pid, other_pid] = [&leader, &other].map(Pid::from_child);
        let stat = |pid| processes::stat(pid).expect("an answer").expect("it runs");
        let _leader = children.starting().started(leader_pid, Role::Leader);
        let after = Stat { start: stat(other_pid).start + 1_000, ..stat(other_pid) };
        let before = Stat { start: stat(other_pid).start - 1, ..after };
        let may_be_another_s = |stat| children.may_be_another_s(stat, Some(leader_pid));
        assert!(!may_be_another_s(&after), "there is no other");
        assert!(!children.take_doubt());
        let starting = children.starting();
        assert!(may_be_another_s(&after), "it may be the one that is being started");
        assert!(children.take_doubt() && !children.take_doubt());
        assert!(!may_be_another_s(&before));
        let helper = starting.started(other_pid, Role::Helper);
        assert!(!may_be_another_s(&after), "that is no command");
        drop(helper);
        let _other = children.starting().started(other_pid, Role::Leader);
        assert!(may_be_another_s(&after));
        assert!(!may_be_another_s(&before));
        [leader, other].into_iter().for_each(end);
    }

    #[test]
    fn only_what_was_left_is_waited_for() {
        let mut children = Children::listing(Listing::None);
        children.exclusive = true;
        let children = Arc::new(children);
        let mut child = Command::new("/bin/true").spawn().expect("a process");
        let pid = Pid::from_child(&child);
        let zombie = loop {
            let stat = processes::stat(pid).expect("an answer").expect("nobody waits for it");
            if !stat.is_live {
                break stat;
            }
        };
        let known = children.starting().started(pid, Role::Leader);
        assert!(children.reap(&zombie).is_none() && children.reap_stranger(&zombie).is_none());
        drop(known);
        let starting = Starting { ticks: zombie.start, children: Arc::clone(&children) };
        children.known().starting.push(zombie.start);
        assert!(children.reap_stranger(&zombie).is_none(), "it may have just been started");
        drop(starting);
        let clearing = children.clearing();
        assert!(children.reap_stranger(&zombie).is_none(), "somebody will miss it");
        drop(clearing);
        assert!(children.reap_stranger(&zombie).is_some());
        child.wait().expect_err("it was waited for");
    }
}
