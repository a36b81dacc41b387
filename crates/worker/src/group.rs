//! A command's process group, signalled only for as long as its number is surely its own.
//!
//! The system gives a number to another process once the one that had it has been waited for. So the leader, once it
//! has exited, is left a zombie until everything has been said to its group, and is waited for last: no signal can
//! hit a stranger.

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

/// How often a group is looked at that was killed and is still going, and for how long: one that is gone may leave
/// zombies behind, which are not ours and may never be waited for.
const GONE_POLL: Duration = Duration::from_millis(1);
const GONE_TIMEOUT: Duration = Duration::from_millis(100);

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
    Unreaped(Child),
    /// Its number may be anyone's.
    Reaped,
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
        Group { id, leader: Mutex::new(Leader::Unreaped(leader)), watch: Watch::new(id) }
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
        match &*self.leader() {
            Leader::Unreaped(_) => self.send(signal),
            Leader::Reaped => {}
        }
    }

    /// Kills what is left of the group, and waits for the leader, which must have exited.
    ///
    /// # Errors
    /// When somebody else has taken the leader's exit status.
    pub(crate) fn reap(&self) -> io::Result<ExitStatus> {
        let mut leader = self.leader();
        match &mut *leader {
            Leader::Unreaped(child) => {
                self.send(Signal::KILL);
                let status = child.wait();
                *leader = Leader::Reaped;
                status
            }
            Leader::Reaped => Err(Errno::CHILD.into()),
        }
    }

    /// Waits until a group that has been reaped has no process left, but not for ever.
    pub(crate) async fn gone(&self) {
        // Its number may be another's by now, which does no harm: nothing is sent.
        let gone = async {
            while rustix::process::test_kill_process_group(self.id) != Err(Errno::SRCH) {
                tokio::time::sleep(GONE_POLL).await;
            }
        };
        _ = tokio::time::timeout(GONE_TIMEOUT, gone).await;
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
        if let Leader::Unreaped(mut child) = std::mem::replace(leader, Leader::Reaped) {
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sleep");
        command.arg("300");
        command
    }

    fn leader() -> Child {
        sleeper().process_group(0).spawn().expect("a process")
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
        let (id, leader) = (Pid::from_child(&child), Mutex::new(Leader::Unreaped(child)));
        is_killed_and_reaped_once(Group { id, leader, watch: Watch::Poll }).await;
    }

    #[tokio::test]
    async fn a_leader_that_is_not_in_its_group_is_killed_too() {
        is_killed_and_reaped_once(Group::new(sleeper().spawn().expect("a process"))).await;
    }
}
