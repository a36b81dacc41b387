//! A sandbox: directories of its own, and an environment in which only these are known.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::{Ended, Process};

/// The binary.
pub(crate) const SORTIE: &str = env!("CARGO_BIN_EXE_sortie");

/// How often processes are looked for and killed; one that is born while its parent is killed is found the next time.
const KILL_ROUNDS: u32 = 100;

/// The directories of one test, and an address of this machine's loopback that no other test listens on. Dropped, it
/// kills every process that has its path in its environment or arguments: services have it as their HOME, and so have
/// the commands that they run.
pub(crate) struct Sandbox {
    dir: TempDir,
    ip: Ipv4Addr,
}

impl Sandbox {
    pub(crate) fn new() -> Result<Sandbox> {
        let dir = tempfile::Builder::new().prefix("sortie-smoke-").tempdir()?;
        for name in ["home", "tmp", "streams"] {
            fs::create_dir(dir.path().join(name))?;
        }
        Ok(Sandbox { dir, ip: next_ip() })
    }

    /// An address to listen on, at any port.
    pub(crate) fn any_port(&self) -> SocketAddr {
        SocketAddr::from((self.ip, 0))
    }

    /// An address that nobody listens on, and nobody else will.
    pub(crate) fn free_addr(&self) -> Result<SocketAddr> {
        Ok(TcpListener::bind(self.any_port())?.local_addr()?)
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with these arguments, to be started in the sandbox.
    pub(crate) fn sortie(&self, arguments: &[&str]) -> Command {
        self.program(SORTIE, arguments)
    }

    /// A program with these arguments, to be started in the sandbox.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command
    }

    /// Starts a process.
    pub(crate) fn start(&self, command: Command) -> Result<Process> {
        Process::start(command, &self.path("streams"))
    }

    /// Runs a process to its end.
    pub(crate) async fn run(&self, command: Command) -> Result<Ended> {
        self.start(command)?.ended().await
    }

    /// Runs the binary with these arguments to its end.
    pub(crate) async fn run_sortie(&self, arguments: &[&str]) -> Result<Ended> {
        self.run(self.sortie(arguments)).await
    }

    /// What is left in the directory for temporary files.
    pub(crate) fn left_over(&self) -> Result<Vec<OsString>> {
        Ok(fs::read_dir(self.path("tmp"))?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?)
    }

    /// The processes of this sandbox.
    pub(crate) fn processes(&self) -> Result<Vec<Pid>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
                continue;
            };
            if ["environ", "cmdline"].iter().any(|file| self.is_named_in(entry.path().join(file))) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Processes come and go, and those of other users are none of ours: what cannot be read does not count.
    fn is_named_in(&self, file: PathBuf) -> bool {
        let name = self.dir.path().as_os_str().as_bytes();
        fs::read(file).is_ok_and(|bytes| bytes.windows(name.len()).any(|window| window == name))
    }
}

/// All of 127.0.0.0/8 is this machine. Who comes back to a port that was closed for a while finds it free only where
/// nobody else takes any port that is.
fn next_ip() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let octet = |number: u32| (1 + number % 250).to_le_bytes()[0];
    let process = std::process::id();
    Ipv4Addr::new(127, octet(process / 250), octet(process), octet(COUNT.fetch_add(1, Ordering::Relaxed)))
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for _ in 0..KILL_ROUNDS {
            let pids = self.processes().unwrap_or_default();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                // It may have ended by now.
                _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
