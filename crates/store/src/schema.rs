//! The tables, and how a file is brought to them.
//!
//! Times are milliseconds since the epoch. Names of states and outcomes are numbers, given in `encode`.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Fault;

/// Marks a file as Sortie's: `SORT` in ASCII.
pub(crate) const APPLICATION_ID: i64 = 0x534f_5254;

/// What brings a file from format N to N+1; a format that was released is never changed, only followed.
pub(crate) const MIGRATIONS: [&str; 1] = [FIRST];

/// Secondary indices are few, because each costs every task a write. There are no foreign keys: the records come
/// from one scheduler, whose invariants the loading checks.
const FIRST: &str = "
-- What was submitted, beside its spec, and how much of it has ended. Small rows: they are walked and rewritten.
-- AUTOINCREMENT remembers the highest id for ever, so that no id is given twice.
CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    submitted   INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    slots       INTEGER NOT NULL,
    name        TEXT,
    labels      TEXT NOT NULL,
    traceparent TEXT,
    succeeded   INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    timed_out   INTEGER NOT NULL,
    cancelled   INTEGER NOT NULL,
    lost        INTEGER NOT NULL,
    expired     INTEGER NOT NULL,
    ended       INTEGER
) STRICT;
CREATE INDEX jobs_live ON jobs (id) WHERE ended IS NULL;
CREATE INDEX jobs_begun ON jobs (id)
    WHERE ended IS NULL AND succeeded + failed + timed_out + cancelled + lost + expired > 0;
CREATE INDEX jobs_unsuccessful ON jobs (id) WHERE ended IS NOT NULL AND succeeded < count;
CREATE INDEX jobs_by_name ON jobs (name) WHERE name IS NOT NULL;

-- The rest of what was submitted, the spec as JSON: up to some megabytes that never change.
CREATE TABLE specs (
    job  INTEGER PRIMARY KEY,
    key  TEXT,
    spec TEXT NOT NULL
) STRICT;
-- Not unique: a key that has expired may be used again, and then stands for its newest job.
CREATE INDEX specs_by_key ON specs (key) WHERE key IS NOT NULL;

-- Tasks that wait for their first attempt: the indices from `first` up to but not including `end`. Rows neither
-- touch nor overlap.
CREATE TABLE waiting (
    job   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    end   INTEGER NOT NULL,
    PRIMARY KEY (job, first)
) STRICT, WITHOUT ROWID;

-- Tasks that wait for another attempt: the number of the last one, and what came of those so far.
CREATE TABLE again (
    job        INTEGER NOT NULL,
    idx        INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    lost       INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    PRIMARY KEY (job, idx)
) STRICT, WITHOUT ROWID;

-- Tasks that ended while they waited, after `attempts` attempts each.
CREATE TABLE unplaced (
    job      INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    end      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    outcome  INTEGER NOT NULL,
    by       TEXT,
    PRIMARY KEY (job, first)
) STRICT, WITHOUT ROWID;

-- Tasks that a worker holds; never more than the fleet has slots.
CREATE TABLE active (
    job         INTEGER NOT NULL,
    idx         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    worker      INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    assigned    INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    lost        INTEGER NOT NULL,
    stage       INTEGER NOT NULL,
    started     INTEGER,
    requested   INTEGER,
    by          TEXT,
    until       INTEGER,
    PRIMARY KEY (job, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX active_by_worker ON active (worker, job, idx);

-- Tasks that a worker held to their end. What `number` and `text` say depends on the outcome.
CREATE TABLE ended (
    job         INTEGER NOT NULL,
    idx         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    worker      INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    assigned    INTEGER NOT NULL,
    started     INTEGER,
    at          INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,
    number      INTEGER,
    text        TEXT,
    cpu_us      INTEGER,
    max_rss     INTEGER,
    killed      INTEGER,
    PRIMARY KEY (job, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_by_outcome ON ended (outcome, job, idx);
CREATE INDEX ended_by_worker ON ended (worker, outcome, job, idx);

-- Attempts that ended and were not their task's last. The columns are those of `ended`.
CREATE TABLE attempts (
    job         INTEGER NOT NULL,
    idx         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    worker      INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    assigned    INTEGER NOT NULL,
    started     INTEGER,
    at          INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,
    number      INTEGER,
    text        TEXT,
    cpu_us      INTEGER,
    max_rss     INTEGER,
    killed      INTEGER,
    PRIMARY KEY (job, idx, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    instance    TEXT NOT NULL,
    version     TEXT NOT NULL,
    labels      TEXT NOT NULL,
    slots       INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    draining    INTEGER NOT NULL,
    link        TEXT NOT NULL,
    session     INTEGER,
    time        INTEGER NOT NULL,
    until       INTEGER
) STRICT;

-- What attempts wrote. Rows of up to a megabyte want a rowid (https://sqlite.org/withoutrowid.html, section 4).
CREATE TABLE outputs (
    job     INTEGER NOT NULL,
    idx     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stream  INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    bytes   BLOB NOT NULL,
    UNIQUE (job, idx, attempt, stream)
) STRICT;
";

/// Whose file it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody's yet: there is nothing in it.
    Nobody,
    /// Sortie's, in this format.
    Sortie { format: i64 },
    /// Some other program's.
    Other,
}

/// Finds out whose file it is, without changing it.
pub(crate) fn owner(db: &Connection) -> Result<Owner, Fault> {
    let format = pragma(db, "user_version")?;
    let id = pragma(db, "application_id")?;
    let things: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, format, things) {
        (APPLICATION_ID, format, _) => Owner::Sortie { format },
        (0, 0, 0) => Owner::Nobody,
        (_, _, _) => Owner::Other,
    })
}

/// Brings a file from `format` to the newest, each step wholly or not at all.
pub(crate) fn migrate(db: &mut Connection, format: i64, migrations: &[&str]) -> Result<(), Fault> {
    let done = usize::try_from(format).unwrap_or(0);
    for (step, sql) in (1i64..).zip(migrations).skip(done) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
        tracing::info!(format = step, "the database has been brought to a new format");
    }
    Ok(())
}

fn pragma(db: &Connection, name: &str) -> Result<i64, Fault> {
    Ok(db.pragma_query_value(None, name, |row| row.get(0))?)
}
