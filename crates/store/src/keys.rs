//! Idempotency keys: what has been submitted under them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use sortie_engine::{Job, Time};

use crate::encode::{self, JOB};
use crate::error::Fault;

/// For how long after its job was submitted a key is known.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The jobs that stand for those of the keys that are known and have not expired.
///
/// Only the newest job of a key can: the scheduler makes no other one while it does.
pub(crate) fn known(db: &mut Connection, keys: Vec<String>, now: Time) -> Result<BTreeMap<String, Arc<Job>>, Fault> {
    let transaction = db.transaction()?;
    let mut select = transaction.prepare_cached(&newest())?;
    let mut known = BTreeMap::new();
    for key in keys {
        let newest = select.query_row([&key], |row| Ok(encode::job(row))).optional()?.transpose()?;
        let job = newest.map(|(job, _, _)| job).filter(|job| now.since(job.submitted) < KEY_LIFETIME);
        known.extend(job.map(|job| (key, Arc::new(job))));
    }
    Ok(known)
}

/// Selects the newest job of a key.
fn newest() -> String {
    format!("SELECT {JOB} FROM specs x CROSS JOIN jobs j WHERE x.key = ? AND j.id = x.job ORDER BY x.job DESC LIMIT 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::own;

    #[test]
    fn a_key_is_found_by_its_index() {
        let dir = tempfile::tempdir().expect("a directory");
        let owned = own(dir.path()).expect("a directory");
        let mut explain = owned.db.prepare(&format!("EXPLAIN QUERY PLAN {}", newest())).expect("a plan");
        let lines = explain.query_map(["a"], |row| row.get::<_, String>(3)).expect("a plan");
        let plan = lines.collect::<Result<Vec<_>, _>>().expect("a plan").join("; ");
        assert!(plan.contains("specs_by_key") && !plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
    }
}
