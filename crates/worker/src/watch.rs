//! How the exit of a child comes to be known, without waiting for it in the system's sense.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often the child is looked at where the system cannot tell of its exit.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// A watch on a child of this process that nobody else waits for.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: Pid,
    by: By,
}

#[derive(Debug)]
enum By {
    Pidfd(AsyncFd<OwnedFd>),
    Poll,
}

impl Watch {
    /// Old kernels and some sandboxes have no pidfds, and descriptors can run out.
    pub(crate) fn new(pid: Pid) -> Self {
        let by = match pidfd(pid) {
            Ok(pidfd) => By::Pidfd(pidfd),
            Err(error) => {
                tracing::debug!(%error, "no pidfd; the command is polled");
                By::Poll
            }
        };
        Watch { pid, by }
    }

    /// Waits until the child has exited. It stays a zombie, and its number its own.
    pub(crate) async fn exited(&self) {
        // A pidfd's readiness is taken for a hint: what follows an exit would kill a command that still runs.
        while !self.has_exited() {
            match &self.by {
                By::Pidfd(pidfd) => match pidfd.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => tokio::time::sleep(EXIT_POLL).await,
                },
                By::Poll => tokio::time::sleep(EXIT_POLL).await,
            }
        }
    }

    /// Whether the child has exited, or was waited for by somebody else.
    pub(crate) fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match rustix::process::waitid(WaitId::Pid(self.pid), options) {
            Ok(status) => status.is_some(),
            Err(error) => error == Errno::CHILD,
        }
    }
}

#[expect(deprecated, reason = "the new way is unsafe, and an OwnedFd keeps the promise that it asks for")]
fn pidfd(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    async fn tells_of_an_exit(mut child: Child, watch: Watch) {
        assert!(!watch.has_exited());
        child.kill().expect("it runs");
        watch.exited().await;
        assert!(child.try_wait().expect("a child").is_some(), "it was left to be waited for");
        watch.exited().await;
    }

    fn sleeper() -> Child {
        Command::new("/bin/sleep").arg("300").spawn().expect("a process")
    }

    #[tokio::test]
    async fn an_exit_is_told_by_a_pidfd() {
        let child = sleeper();
        let watch = Watch::new(Pid::from_child(&child));
        assert!(matches!(watch.by, By::Pidfd(_)));
        tells_of_an_exit(child, watch).await;
    }

    #[tokio::test]
    async fn an_exit_is_found_without_a_pidfd() {
        let child = sleeper();
        let watch = Watch { pid: Pid::from_child(&child), by: By::Poll };
        tells_of_an_exit(child, watch).await;
    }
}
