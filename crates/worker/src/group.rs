//! A command's process group, signalled only for as long as its number is surely its own.
//!
//! The system gives a number to another process once the one that had it has been waited for. So the leader, once it
//! has exited, is left a zombie until everything has been said to its group, and is waited for last: no signal can
//! hit a stranger.
//!
//! Who belongs to a group is read in `/proc`. A zombie counts as gone: it is not ours to wait for, and its parent may
//! never do so. Where there is no `/proc`, nobody is seen, and a group is gone with its leader.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often the leader is looked at where the system cannot tell of its exit.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// How often a group is looked at that was asked to end and has outlived its leader.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// How often a group is looked at that was killed and is still going: first, and at last, each wait twice the one before.
const GONE_POLL: Duration = Duration::from_millis(1);
const GONE_POLL_MAX: Duration = Duration::from_secs(1);

/// A process group whose leader this process has started. Dropped too early, it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    leader: Mutex<Leader>,
    watch: Watch,
}

#[derive(Debug)]
enum Leader {
    /// It runs, or is a zombie: its number is its own.
    Unreaped(Child, Rest),
    /// Its number may be anyone's.
    Reaped,
}

/// What becomes of those of the group that outlive the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// They are killed.
    Doomed,
    /// They were asked to end while the leader ran, and are left alone until they have, or KILL is sent.
    Spared,
}

/// How the leader's exit comes to be known.
#[derive(Debug)]
enum Watch {
    Pidfd(AsyncFd<OwnedFd>),
    Poll,
}

impl Group {
    /// The group that `leader` was started in as its first process.
    pub(crate) fn new(leader: Child) -> Self {
        let id = Pid::from_child(&leader);
        Group { id, leader: Mutex::new(Leader::Unreaped(leader, Rest::Doomed)), watch: Watch::new(id) }
    }

    /// Waits until the leader has exited; it is not waited for in the system's sense.
    pub(crate) async fn exited(&self) {
        // A pidfd's readiness is taken for a hint: what follows an exit would kill a command that still runs.
        while !self.has_exited() {
            match &self.watch {
                Watch::Pidfd(pidfd) => match pidfd.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => tokio::time::sleep(EXIT_POLL).await,
                },
                Watch::Poll => tokio::time::sleep(EXIT_POLL).await,
            }
        }
    }

    /// Sends a signal to every process of the group, unless its leader has been reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        match &mut *self.leader() {
            Leader::Unreaped(_, rest) => {
                if signal == Signal::KILL {
                    *rest = Rest::Doomed;
                } else if !self.has_exited() {
                    *rest = Rest::Spared;
                }
                self.send(signal);
            }
            Leader::Reaped => {}
        }
    }

    /// Waits, if the group was asked to end before its leader did, until all the others have, or KILL was sent.
    pub(crate) async fn settled(&self) {
        let mut members = Vec::new();
        while self.is_spared() {
            // Nobody else need be looked for while one lives that was found before.
            if !any_lives(&mut members, self.id) {
                members = self.members().await;
                if members.is_empty() {
                    return;
                }
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Kills what is left of the group, and waits for the leader, which must have exited.
    ///
    /// # Errors
    /// When somebody else has taken the leader's exit status.
    pub(crate) fn reap(&self) -> io::Result<ExitStatus> {
        let mut leader = self.leader();
        match &mut *leader {
            Leader::Unreaped(child, _) => {
                self.send(Signal::KILL);
                let status = child.wait();
                *leader = Leader::Reaped;
                status
            }
            Leader::Reaped => Err(Errno::CHILD.into()),
        }
    }

    /// Waits until a group that has been reaped has no process that lives: for ever, if one is stuck in the system.
    pub(crate) async fn gone(&self) {
        // Most leave nobody behind, and are spared the search.
        if rustix::process::test_kill_process_group(self.id) == Err(Errno::SRCH) {
            return;
        }
        // Nobody joins a group that was killed. The search is not repeated, for one day its number is another's.
        let mut members = self.members().await;
        let mut wait = GONE_POLL;
        while any_lives(&mut members, self.id) {
            tokio::time::sleep(wait).await;
            if wait < GONE_POLL_MAX && wait * 2 >= GONE_POLL_MAX {
                tracing::warn!(
                    group = self.id.as_raw_pid(),
                    ?members,
                    "a command was killed, but is stuck in the system"
                );
            }
            wait = (wait * 2).min(GONE_POLL_MAX);
        }
    }

    /// The processes of the group that live. It looks again until it can tell.
    async fn members(&self) -> Vec<Pid> {
        let id = self.id;
        loop {
            match tokio::task::spawn_blocking(move || members(id)).await.map_err(io::Error::other).flatten() {
                Ok(members) => return members,
                Err(error) => tracing::warn!(group = id.as_raw_pid(), %error, "the processes cannot be listed"),
            }
            tokio::time::sleep(GONE_POLL_MAX).await;
        }
    }

    fn is_spared(&self) -> bool {
        matches!(&*self.leader(), Leader::Unreaped(_, Rest::Spared))
    }

    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match rustix::process::waitid(WaitId::Pid(self.id), options) {
            Ok(status) => status.is_some(),
            Err(error) => error == Errno::CHILD,
        }
    }

    fn send(&self, signal: Signal) {
        let group = rustix::process::kill_process_group(self.id, signal);
        // A leader can move to another group; nobody gets TERM twice for that.
        let sent = if signal == Signal::KILL || group == Err(Errno::SRCH) {
            rustix::process::kill_process(self.id, signal)
        } else {
            group
        };
        if let Err(error) = sent {
            tracing::warn!(group = self.id.as_raw_pid(), ?signal, %error, "a command cannot be signalled");
        }
    }

    fn leader(&self) -> MutexGuard<'_, Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.leader.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Leader::Unreaped(mut child, _) = std::mem::replace(leader, Leader::Reaped) {
            self.send(Signal::KILL);
            // A process that hangs in the system dies later than we can wait; a zombie that stays is all it costs.
            _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
        }
    }
}

impl Watch {
    /// Old kernels and some sandboxes have no pidfds, and descriptors can run out.
    fn new(id: Pid) -> Self {
        match Watch::pidfd(id) {
            Ok(pidfd) => Watch::Pidfd(pidfd),
            Err(error) => {
                tracing::debug!(%error, "no pidfd; the command is polled");
                Watch::Poll
            }
        }
    }
    #[expect(deprecated, reason = "the new way is unsafe, and an OwnedFd keeps the promise that it asks for")]
    fn pidfd(id: Pid) -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::with_interest(rustix::process::pidfd_open(id, PidfdFlags::NONBLOCK)?, Interest::READABLE)
    }
}

/// Whether one of these members of a group lives; those that do not are forgotten.
fn any_lives(members: &mut Vec<Pid>, group: Pid) -> bool {
    members.retain(|&pid| is_live_member(pid, group).unwrap_or(true));
    !members.is_empty()
}

/// Looks at every process there is. It takes its time.
fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir("/proc") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut members = Vec::new();
    for entry in entries {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && is_live_member(pid, group)?
        {
            members.push(pid);
        }
    }
    Ok(members)
}

/// A process that is gone, or hidden from us, is nobody's member.
fn is_live_member(pid: Pid, group: Pid) -> io::Result<bool> {
    match fs::read(format!("/proc/{}/stat", pid.as_raw_pid())) {
        Ok(stat) => Ok(is_live_stat(&stat, group)),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads proc(5)'s `stat`. A process whose first thread has ended looks like a zombie while its other threads live.
fn is_live_stat(stat: &[u8], group: Pid) -> bool {
    // The program's name comes before and may be any bytes, parentheses among them.
    let name_end = stat.iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 1);
    let fields = String::from_utf8_lossy(&stat[name_end..]);
    let mut fields = fields.split_ascii_whitespace();
    let (state, pgrp, threads) = (fields.next(), fields.nth(1), fields.nth(14));
    let is_dead = match state {
        Some("Z") => threads.is_none_or(|threads| threads == "1" || threads == "0"),
        Some("X" | "x") | None => true,
        Some(_) => false,
    };
    !is_dead && pgrp.is_some_and(|pgrp| pgrp.parse() == Ok(group.as_raw_pid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use futures_util::FutureExt as _;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sleep");
        command.arg("300");
        command
    }

    fn leader() -> Child {
        sleeper().process_group(0).spawn().expect("a process")
    }

    fn program(arguments: &[&str], group: Pid) -> Child {
        let (program, arguments) = arguments.split_first().expect("a program");
        Command::new(program).args(arguments).process_group(group.as_raw_pid()).spawn().expect("a process")
    }

    async fn is_killed_and_reaped_once(group: Group) {
        assert!(!group.has_exited());
        group.signal(Signal::KILL);
        group.exited().await;
        assert_eq!(group.reap().expect("a status").signal(), Some(9));
        group.gone().await;
        group.signal(Signal::KILL);
        group.reap().expect_err("reaped before");
    }

    #[tokio::test]
    async fn an_exit_is_told_by_a_pidfd() {
        let group = Group::new(leader());
        assert!(matches!(group.watch, Watch::Pidfd(_)));
        is_killed_and_reaped_once(group).await;
    }

    #[tokio::test]
    async fn an_exit_is_found_without_a_pidfd() {
        let child = leader();
        let (id, leader) = (Pid::from_child(&child), Mutex::new(Leader::Unreaped(child, Rest::Doomed)));
        is_killed_and_reaped_once(Group { id, leader, watch: Watch::Poll }).await;
    }

    #[tokio::test]
    async fn a_leader_that_is_not_in_its_group_is_killed_too() {
        is_killed_and_reaped_once(Group::new(sleeper().spawn().expect("a process"))).await;
    }

    #[tokio::test]
    async fn the_rest_is_spared_only_if_term_came_before_the_leader_s_exit() {
        let leader = || Group::new(leader());
        let asked = leader();
        let mut rest = program(&["/bin/sh", "-c", "trap '' TERM; sleep 300"], asked.id);
        asked.signal(Signal::TERM);
        asked.exited().await;
        assert!(asked.is_spared());
        asked.signal(Signal::KILL);
        asked.settled().now_or_never().expect("it is killed");
        asked.reap().expect("a status");
        rest.wait().expect("a status");

        let unasked = leader();
        let mut rest = program(&["/bin/sh", "-c", "trap '' TERM; sleep 300"], unasked.id);
        rustix::process::kill_process(unasked.id, Signal::INT).expect("it runs");
        unasked.exited().await;
        unasked.signal(Signal::TERM);
        unasked.settled().now_or_never().expect("it ended by itself");
        assert_eq!(unasked.reap().expect("a status").signal(), Some(2));
        rest.wait().expect("a status");
    }

    #[tokio::test]
    async fn a_zombie_that_nobody_waits_for_does_not_hold_up_the_end() {
        let group = Group::new(leader());
        let mut zombie = program(&["/bin/sleep", "300"], group.id);
        group.signal(Signal::TERM);
        group.exited().await;
        group.settled().await;
        group.reap().expect("a status");
        group.gone().await;
        rustix::process::test_kill_process_group(group.id).expect("the zombie is there");
        zombie.wait().expect("a status");
    }

    #[tokio::test]
    async fn a_group_is_not_gone_while_a_process_lives() {
        let group = Group::new(leader());
        let mut zombie = program(&["/bin/true"], group.id);
        group.signal(Signal::KILL);
        group.exited().await;
        group.reap().expect("a status");
        // Nothing that a test could start survives KILL: it comes later, into the group that the zombie keeps.
        let mut late = program(&["/bin/sleep", "0.3"], group.id);
        group.gone().await;
        assert!(late.try_wait().expect("a child").is_some(), "it has ended");
        zombie.wait().expect("a status");
    }

    #[test]
    fn a_process_lives_while_a_thread_of_it_does() {
        let group = Pid::from_raw(20).expect("a number");
        let lives = |name: &str, state: &str, pgrp: u32, threads: u32| {
            let stat = format!("31 ({name}) {state} 1 {pgrp} 9 0 -1 1 2 3 4 5 6 7 8 9 20 0 {threads} 0 777 0\n");
            is_live_stat(stat.as_bytes(), group)
        };
        assert!(lives("sh", "S", 20, 1) && lives("sh", "D", 20, 1) && lives("a) Z 1 (b", "T", 20, 1));
        assert!(!lives("sh", "Z", 20, 1) && !lives("sh", "X", 20, 0) && !lives("a) S 1 20 (b", "Z", 20, 1));
        assert!(lives("python", "Z", 20, 2), "its first thread has ended");
        assert!(!lives("sh", "S", 21, 1));
        assert!(!is_live_stat(b"", group));
    }
}
