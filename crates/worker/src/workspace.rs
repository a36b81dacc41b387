//! The worker's directory: its lock, and a directory for each attempt.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sortie_engine::AttemptId;

use crate::Error;

/// For the worker's user alone: scripts and working directories may hold secrets.
const PRIVATE: u32 = 0o700;

/// How long a directory is waited for that another process has, and how often it is tried.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The file in the data directory that its worker holds locked.
const LOCK: &str = "lock";

/// Where the directories of attempts are made.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    data_dir: PathBuf,
    attempts: PathBuf,
}

/// An attempt's own place: the empty directory for its command to run in and, beside it, its script if it is one.
#[derive(Debug)]
pub(crate) struct AttemptDir(PathBuf);

/// The proof that no other worker uses the directory, for as long as it or a copy of it lives, in whatever process.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Takes a directory for this worker alone. Its predecessor's guard may still have it, for a moment.
///
/// # Errors
/// When it cannot be made or read, or another worker has it.
pub(crate) async fn open(data_dir: &Path) -> Result<(Workspace, Lock), Error> {
    open_within(data_dir, LOCK_TIMEOUT).await
}

async fn open_within(data_dir: &Path, timeout: Duration) -> Result<(Workspace, Lock), Error> {
    let unusable = |source| Error::DataDir { path: data_dir.to_owned(), source };
    fs::create_dir_all(data_dir).map_err(unusable)?;
    // Commands run elsewhere: their HOME must not depend on where. What is left of an attempt is known by this path.
    let data_dir = data_dir.canonicalize().map_err(unusable)?;
    let lock = File::create(data_dir.join(LOCK)).map_err(unusable)?;
    let begun = Instant::now();
    while let Err(error) = lock.try_lock() {
        match error {
            TryLockError::Error(source) => return Err(unusable(source)),
            TryLockError::WouldBlock if begun.elapsed() < timeout => tokio::time::sleep(LOCK_POLL).await,
            TryLockError::WouldBlock => return Err(Error::DataDirInUse { path: data_dir }),
        }
    }
    let attempts = attempts(&data_dir);
    Ok((Workspace { data_dir, attempts }, Lock(lock)))
}

/// Where the directories of attempts are, in a data directory that is named by its one true path.
pub(crate) fn attempts(data_dir: &Path) -> PathBuf {
    data_dir.join("attempts")
}

impl Lock {
    /// A copy for another process: as long as that lives, the directory is taken.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Whether this process has been given a copy, as `copy`, of the lock of this data directory.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn is_shared(data_dir: &Path, copy: impl AsFd) -> io::Result<bool> {
        let copy = File::from(copy.as_fd().try_clone_to_owned()?);
        let (given, lock) = (copy.metadata()?, fs::metadata(data_dir.join(LOCK))?);
        // One that has the lock can take it again.
        Ok((given.dev(), given.ino()) == (lock.dev(), lock.ino()) && copy.try_lock().is_ok())
    }
}

impl Workspace {
    /// The data directory, by its one true path.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the directories of attempts are.
    pub(crate) fn attempts(&self) -> &Path {
        &self.attempts
    }

    /// Removes what a dead predecessor's attempts left; its processes must be gone.
    ///
    /// # Errors
    /// When there can be no directory for attempts.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        clear(&self.attempts).map_err(|source| Error::DataDir { path: self.data_dir.clone(), source })
    }

    /// Makes an attempt's directory: just one, for that is the dearest part of a short command after the command.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn create(&self, attempt: AttemptId) -> io::Result<AttemptDir> {
        let dir = self.attempts.join(format!("{}.{}", attempt.task, attempt.number));
        make_private(&dir)?;
        Ok(AttemptDir(dir))
    }
}

impl AttemptDir {
    /// The directory that belongs to the command.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a script beside the directory, and says where.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_script(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.script();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Removes the directory with all that is in it, and the script.
    pub(crate) fn remove(&self) {
        remove_or_leave(&self.0);
        remove_or_leave(&self.script());
    }

    fn script(&self) -> PathBuf {
        self.0.with_added_extension("script")
    }
}

/// Makes sure that there is a directory with nothing in it.
fn clear(attempts: &Path) -> io::Result<()> {
    match make_private(attempts) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => return other,
    }
    for entry in fs::read_dir(attempts)? {
        remove_or_leave(&entry?.path());
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE).create(path)
}

/// What cannot be removed is left for the next start.
fn remove_or_leave(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "what an attempt left cannot be removed");
    }
}

/// Removes whatever is there; an empty directory, which is what most commands leave, in one call.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => remove_tree(path),
        other => other,
    }
}

/// Commands make directories read-only (Go's module cache is), out of which nobody but root can remove anything.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_tree(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open_tree(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Of the entry itself: a link's target is none of our business.
        if entry.file_type()?.is_dir() {
            open_tree(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sortie_engine::JobId;

    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_worker() {
        let dir = tempfile::tempdir().expect("a directory");
        let taken = open(dir.path()).await.expect("a workspace");
        let again = open_within(dir.path(), Duration::ZERO).await;
        assert!(matches!(again, Err(Error::DataDirInUse { path }) if path == taken.0.data_dir()));
        drop(taken);
        open(dir.path()).await.expect("a workspace");
    }

    #[tokio::test]
    async fn a_directory_is_taken_until_the_last_copy_of_its_lock_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (_, lock) = open(dir.path()).await.expect("a workspace");
        let copy = lock.share().expect("a descriptor");
        drop(lock);
        assert!(Lock::is_shared(dir.path(), &copy).expect("an answer"));
        let other = File::open(dir.path().join(LOCK)).expect("a file");
        assert!(!Lock::is_shared(dir.path(), &other).expect("an answer"), "the lock is the copy's");
        let elsewhere = File::open("/dev/null").expect("a file");
        assert!(!Lock::is_shared(dir.path(), &elsewhere).expect("an answer"));
        let waiting = tokio::spawn({
            let dir = dir.path().to_owned();
            async move { open(&dir).await }
        });
        tokio::task::yield_now().await;
        drop((copy, other));
        waiting.await.expect("no panic").expect("a workspace");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_is_an_error() {
        assert!(matches!(open(Path::new("/dev/null/x")).await, Err(Error::DataDir { .. })));
    }

    #[tokio::test]
    async fn what_a_dead_worker_left_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let attempt = JobId(1).task(2).attempt(3);
        let (workspace, _lock) = open(dir.path()).await.expect("a workspace");
        workspace.clear().expect("a directory");
        let left = workspace.create(attempt).expect("an attempt's directory");
        left.write_script("#!/bin/true").expect("a script");
        fs::write(left.path().join("file"), "x").expect("a file");
        workspace.create(attempt).expect_err("it is there");
        workspace.clear().expect("a directory");
        assert_eq!(fs::read_dir(&workspace.attempts).expect("a directory").count(), 0);
    }
}
