//! A process of a test: its streams are files, so that it never waits for a reader and can be read at any time.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sortie_tests::{Value, eventually};
use tempfile::NamedTempFile;

/// A process. Dropped, it is killed.
pub(crate) struct Process {
    child: Mutex<Child>,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, if it ended by itself.
    pub(crate) code: Option<i32>,
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts a process that reads nothing and writes to files in `dir`.
    pub(crate) fn start(mut command: Command, dir: &Path) -> Result<Process> {
        let (stdout, stderr) = (NamedTempFile::new_in(dir)?, NamedTempFile::new_in(dir)?);
        command.stdin(Stdio::null()).stdout(stdout.reopen()?).stderr(stderr.reopen()?);
        Ok(Process { child: Mutex::new(command.spawn()?), stdout, stderr })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // Once it has been waited for, its id may be another's.
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&child), signal)?;
        }
        Ok(())
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&self) -> Result<bool> {
        Ok(self.child().try_wait()?.is_none())
    }

    /// Ends it as a crash does.
    pub(crate) async fn killed(self) -> Result<()> {
        self.signal(Signal::KILL)?;
        ensure!(self.ended().await?.signal == Some(Signal::KILL.as_raw()), "it had ended before");
        Ok(())
    }

    /// Its id.
    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child())
    }

    /// Waits for the end.
    pub(crate) async fn ended(self) -> Result<Ended> {
        let ended = eventually("a process ends", async || Ok(self.child().try_wait()?.is_some())).await;
        ended.with_context(|| self.stderr().unwrap_or_default())?;
        let status = self.child().wait()?;
        let (stdout, stderr) = (fs::read(self.stdout.path())?, self.stderr()?);
        Ok(Ended { code: status.code(), signal: status.signal(), stdout, stderr })
    }

    /// Waits for a JSON line of the log with this message; the line.
    pub(crate) async fn logs(&self, message: &str) -> Result<Value> {
        let found = || Ok::<_, anyhow::Error>(logged(&self.stderr()?, message));
        let logged = eventually(message, async || Ok(found()?.is_some())).await;
        logged.with_context(|| self.stderr().unwrap_or_default())?;
        found()?.context("what was logged once stays logged")
    }

    /// Waits for words on standard error.
    pub(crate) async fn says(&self, words: &str) -> Result<()> {
        let said = eventually(words, async || Ok(self.stderr()?.contains(words))).await;
        said.with_context(|| self.stderr().unwrap_or_default())
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> Result<String> {
        Ok(fs::read_to_string(self.stderr.path())?)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child();
        // It may have ended, and been waited for.
        _ = child.kill();
        _ = child.wait();
    }
}

impl Ended {
    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or("it is not UTF-8")
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        self.text().parse().with_context(|| format!("{self:?}"))
    }

    /// Asserts that it said why on standard error, in so many words, and ended with `code`.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is not in {}", self.stderr);
        }
        assert_eq!(self.text(), "");
    }

    /// Whether a line of the log has this message.
    pub(crate) fn logged(&self, message: &str) -> bool {
        logged(&self.stderr, message).is_some()
    }
}

fn logged(log: &str, message: &str) -> Option<Value> {
    log.lines().filter_map(|line| line.parse().ok()).find(|line: &Value| line["message"] == message)
}
