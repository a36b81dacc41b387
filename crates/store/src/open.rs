//! Opening a data directory: one master at a time, and never a file that is not ours.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, OpenFlags};
use sortie_engine::{Labels, Selector, Snapshot};

use crate::error::{Fault, OpenError};
use crate::schema::{MIGRATIONS, Owner, migrate, owner};
use crate::{Reader, Writer, load};

/// The database's name in the directory.
const DATABASE: &str = "sortie.db";
/// The name of the file that a master locks for as long as it lives.
const LOCK: &str = "lock";
/// How long a statement waits for another program's lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many prepared statements a connection keeps.
const STATEMENTS: usize = 64;

/// The write-ahead log is taken into the database at 16 MiB, and cut down to 64 MiB after a burst. `FULL` makes
/// a commit an fsync of the log.
const WRITER_PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4096;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -32768;
    PRAGMA cell_size_check = ON;
";
const READER_PRAGMAS: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -8192;
    PRAGMA cell_size_check = ON;
";

/// A directory that this process alone may write to.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) path: PathBuf,
    pub(crate) db: Connection,
    pub(crate) lock: File,
}

/// Opens a master's data directory, makes it if it is missing, and loads what the last commit left.
///
/// Blocks for as long as the loading takes.
///
/// # Errors
/// When another master uses it, or it is damaged, too new, not Sortie's, or cannot be written.
pub fn open(dir: &Path) -> Result<(Writer, Reader, Snapshot), OpenError> {
    let owned = own(dir)?;
    let snapshot = load::load(&owned.db)?;
    let reader = Reader::new(owned.path.clone());
    Ok((Writer::start(owned)?, reader, snapshot))
}

/// Locks the directory and opens its database for writing, in the newest format.
pub(crate) fn own(dir: &Path) -> Result<Owned, OpenError> {
    make_dir(dir)?;
    let lock = lock(dir)?;
    let path = dir.join(DATABASE);
    let mut db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let known = MIGRATIONS.len() as i64;
    let format = match owner(&db)? {
        Owner::Nobody => 0,
        Owner::Sortie { format } if format > known => return Err(OpenError::Newer { found: format, known }),
        Owner::Sortie { format } => format,
        Owner::Other => return Err(OpenError::Foreign(path)),
    };
    db.execute_batch(WRITER_PRAGMAS)?;
    migrate(&mut db, format, &MIGRATIONS)?;
    Ok(Owned { path, db, lock })
}

/// Opens a connection that can only read.
pub(crate) fn reading(path: &Path) -> Result<Connection, Fault> {
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.execute_batch(READER_PRAGMAS)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    db.create_scalar_function("selected", 2, flags, |ctx| selected(ctx))?;
    Ok(db)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// The SQL function `selected(labels, selector)`, so that labels are matched by the engine's own rules.
fn selected(ctx: &Context<'_>) -> rusqlite::Result<bool> {
    let user = |error: serde_json::Error| rusqlite::Error::UserFunctionError(error.into());
    let labels: Labels = serde_json::from_str(ctx.get_raw(0).as_str()?).map_err(user)?;
    let selector = ctx.get_or_create_aux(1, |value| -> Result<Selector, Box<dyn std::error::Error + Send + Sync>> {
        Ok(value.as_str()?.parse()?)
    })?;
    Ok(selector.matches(&labels))
}

/// Makes the directory for its owner alone, and its entry durable: what is in it could be lost with it.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if let Some(parent) = fs::canonicalize(dir)?.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
