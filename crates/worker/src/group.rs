//! A command's process group, signalled only for as long as its number is surely its own.
//!
//! The system gives a number to another process once the one that had it has been waited for. So the leader, once it
//! has exited, is left a zombie until everything has been said to its group, and is waited for last: no signal can
//! hit a stranger.
//!
//! Who belongs to a group is read in `/proc`. A zombie counts as gone: it may not be ours to wait for, and its parent may
//! never do so.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::children::Child;
use crate::processes::{self, Stat};
use crate::sys::{self, Reaped};
use crate::watch::Watch;

/// How often a group is looked at that was asked to end and has outlived its leader.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// How long to wait when the processes cannot be listed.
const LIST_WAIT: Duration = Duration::from_secs(1);

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
    Unreaped { child: Child, rest: Rest, ordered: bool },
    /// Its number may be anyone's.
    Reaped { ordered: bool },
}

/// What becomes of those of the group that outlive the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// They are killed.
    Doomed,
    /// They were asked to end while the leader ran, and are left alone until they have, or KILL is sent.
    Spared,
}

impl Group {
    /// The group that `leader` was started in as its first process.
    pub(crate) fn new(leader: Child) -> Self {
        let id = leader.pid;
        let leader = Leader::Unreaped { child: leader, rest: Rest::Doomed, ordered: false };
        Group { id, leader: Mutex::new(leader), watch: Watch::new(id) }
    }

    /// Its number, which is its leader's.
    pub(crate) fn id(&self) -> Pid {
        self.id
    }

    /// Waits until the leader has exited; it is not waited for in the system's sense.
    pub(crate) async fn exited(&self) {
        self.watch.exited().await;
    }

    /// Sends a signal to every process of the group, unless its leader has been reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        match &mut *self.leader() {
            Leader::Unreaped { rest, ordered, .. } => {
                if signal == Signal::KILL {
                    *rest = Rest::Doomed;
                    *ordered = true;
                } else if !self.watch.has_exited() {
                    *rest = Rest::Spared;
                }
                self.send(signal);
            }
            Leader::Reaped { .. } => {}
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

    /// Kills what the leader, which has exited, has left in its group.
    pub(crate) fn kill_rest(&self) {
        match &*self.leader() {
            Leader::Unreaped { .. } => self.send(Signal::KILL),
            Leader::Reaped { .. } => {}
        }
    }

    /// Waits for the leader, which has exited.
    ///
    /// # Errors
    /// When somebody else has taken the leader's exit status.
    pub(crate) fn reap(&self) -> io::Result<Reaped> {
        let mut leader = self.leader();
        match *leader {
            Leader::Unreaped { ordered, .. } => {
                let reaped = sys::reap(self.id);
                *leader = Leader::Reaped { ordered };
                reaped?.ok_or_else(|| Errno::CHILD.into())
            }
            Leader::Reaped { .. } => Err(Errno::CHILD.into()),
        }
    }

    /// Whether it was this worker that ended a process of the group which ended so.
    pub(crate) fn was_killed_by(&self, status: ExitStatus) -> bool {
        let (Leader::Unreaped { ordered, .. } | Leader::Reaped { ordered }) = *self.leader();
        ordered && status.signal() == Some(Signal::KILL.as_raw())
    }

    /// The processes of the group that live. It looks again until it can tell.
    async fn members(&self) -> Vec<Pid> {
        loop {
            match tokio::task::spawn_blocking(processes::census).await.map_err(io::Error::other).flatten() {
                Ok(census) => {
                    return census.iter().filter(|stat| is_member(stat, self.id)).map(|stat| stat.pid).collect();
                }
                Err(error) => tracing::warn!(group = self.id.as_raw_pid(), %error, "the processes cannot be listed"),
            }
            tokio::time::sleep(LIST_WAIT).await;
        }
    }

    fn is_spared(&self) -> bool {
        matches!(&*self.leader(), Leader::Unreaped { rest: Rest::Spared, .. })
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
        if let Leader::Unreaped { child, .. } = std::mem::replace(leader, Leader::Reaped { ordered: true }) {
            self.send(Signal::KILL);
            // A process that hangs in the system dies later than we can wait; a zombie that stays is all it costs.
            let reap = move || {
                _ = rustix::process::waitpid(Some(child.pid), WaitOptions::empty());
                drop(child);
            };
            _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(reap);
        }
    }
}

/// Whether one of these members of a group lives; those that do not are forgotten.
fn any_lives(members: &mut Vec<Pid>, group: Pid) -> bool {
    let lives = |pid: &Pid| processes::stat(*pid).map_or(true, |stat| stat.is_some_and(|stat| is_member(&stat, group)));
    members.retain(lives);
    !members.is_empty()
}

fn is_member(stat: &Stat, group: Pid) -> bool {
    stat.is_live && stat.group == group.as_raw_pid()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{self, Command};

    use futures_util::FutureExt as _;

    use crate::children::{Children, Role};

    use super::*;

    fn group(command: &mut Command) -> Group {
        let starting = Children::new(false).starting();
        let leader = command.spawn().map(|leader| Pid::from_child(&leader)).expect("a process");
        Group::new(starting.started(leader, Role::Leader))
    }

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sleep");
        command.arg("300");
        command
    }

    fn program(arguments: &[&str], group: Pid) -> process::Child {
        let (program, arguments) = arguments.split_first().expect("a program");
        Command::new(program).args(arguments).process_group(group.as_raw_pid()).spawn().expect("a process")
    }

    async fn is_killed_and_reaped_once(group: Group) {
        assert!(!group.watch.has_exited());
        group.signal(Signal::KILL);
        group.exited().await;
        let reaped = group.reap().expect("a status");
        assert_eq!(reaped.status.signal(), Some(9));
        assert!(group.was_killed_by(reaped.status));
        group.signal(Signal::KILL);
        group.kill_rest();
        group.reap().expect_err("reaped before");
    }

    #[tokio::test]
    async fn a_group_is_killed_and_its_leader_waited_for_once() {
        is_killed_and_reaped_once(group(sleeper().process_group(0))).await;
    }

    #[tokio::test]
    async fn a_leader_that_is_not_in_its_group_is_killed_too() {
        is_killed_and_reaped_once(group(&mut sleeper())).await;
    }

    #[tokio::test]
    async fn a_leader_that_was_killed_by_another_was_not_killed_here() {
        let group = group(sleeper().process_group(0));
        rustix::process::kill_process(group.id, Signal::KILL).expect("it runs");
        group.exited().await;
        group.kill_rest();
        let reaped = group.reap().expect("a status");
        assert_eq!(reaped.status.signal(), Some(9));
        assert!(!group.was_killed_by(reaped.status));
    }

    #[tokio::test]
    async fn the_rest_is_spared_only_if_term_came_before_the_leader_s_exit() {
        let leader = || group(sleeper().process_group(0));
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
        unasked.kill_rest();
        assert_eq!(unasked.reap().expect("a status").status.signal(), Some(2));
        rest.wait().expect("a status");
    }

    #[tokio::test]
    async fn a_zombie_that_nobody_waits_for_does_not_hold_up_the_end() {
        let group = group(sleeper().process_group(0));
        let mut zombie = program(&["/bin/sleep", "300"], group.id);
        group.signal(Signal::TERM);
        group.exited().await;
        group.settled().await;
        group.reap().expect("a status");
        rustix::process::test_kill_process_group(group.id).expect("the zombie is there");
        zombie.wait().expect("a status");
    }
}
