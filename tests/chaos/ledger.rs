//! What the commands themselves wrote down, and whether what Sortie says agrees with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use sortie_tests::Value;

use crate::client::{Kind, Told};

/// What happened to each attempt, by task and number, as its command saw it.
#[derive(Default)]
pub(crate) struct Ledger {
    attempts: BTreeMap<(String, u64), Written>,
    overlaps: Vec<String>,
}

#[derive(Debug, Default)]
struct Written {
    starts: u32,
    code: Option<i64>,
}

/// What there was to check.
#[derive(Default)]
pub(crate) struct Summary {
    attempts: usize,
    lost: usize,
    unstarted: usize,
    lost_tasks: usize,
}

impl Ledger {
    pub(crate) fn read(log: &Path) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for line in std::fs::read_to_string(log)?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let (what, task, number) = match words[..] {
                [what, task, number] | [what, task, number, _] => (what, task.to_owned(), number.parse()?),
                _ => bail!("{line:?} is torn"),
            };
            let written = ledger.attempts.entry((task, number)).or_default();
            match (what, words.get(3)) {
                ("start", None) => written.starts += 1,
                ("end", Some(code)) => written.code = Some(code.parse()?),
                _ => ledger.overlaps.push(line.to_owned()),
            }
        }
        Ok(ledger)
    }

    /// Holds what is said of every task against what its commands wrote.
    pub(crate) fn check(&self, told: &BTreeMap<String, Told>) -> Result<Summary> {
        ensure!(self.overlaps.is_empty(), "attempts at the same time: {:?}", self.overlaps);
        let mut summary = Summary::default();
        for (id, Told { kind, task }) in told {
            self.check_task(id, *kind, task, &mut summary).with_context(|| format!("{kind:?} {task:#}"))?;
        }
        let unknown = self.attempts.keys().find(|(task, number)| {
            let attempts = told.get(task).and_then(|told| told.task["attempts"].as_array());
            attempts.is_none_or(|attempts| *number > attempts.len() as u64)
        });
        ensure!(unknown.is_none(), "nobody knows of attempt {unknown:?}");
        let written = self.attempts.values().find(|written| written.starts != 1);
        ensure!(written.is_none(), "an attempt did not start once: {written:?}");
        Ok(summary)
    }

    fn check_task(&self, id: &str, kind: Kind, task: &Value, summary: &mut Summary) -> Result<()> {
        let attempts = task["attempts"].as_array().context("a task has attempts")?;
        summary.attempts += attempts.len();
        for (attempt, number) in attempts.iter().zip(1..) {
            ensure!(attempt["number"] == number, "attempts are numbered from 1");
            let outcome = &attempt["outcome"];
            let written = self.attempts.get(&(id.to_owned(), number));
            let code = written.and_then(|written| written.code);
            let is_last = number == attempts.len() as u64;
            match (outcome["kind"].as_str(), outcome["started"].as_str()) {
                (Some("exited"), None) => ensure!(code.is_some() && outcome["code"].as_i64() == code, "{written:?}"),
                (Some("lost"), Some("no")) => {
                    summary.unstarted += 1;
                    ensure!(written.is_none(), "{number} did run: {written:?}");
                }
                (Some("lost"), Some("yes" | "unknown")) => {
                    summary.lost += 1;
                    ensure!(kind != Kind::Once || is_last, "it was run again");
                }
                other => bail!("nobody made {number} end so: {other:?}"),
            }
        }
        let is_lost = task["state"] == "lost";
        summary.lost_tasks += usize::from(is_lost);
        ensure!(
            task["state"] == "succeeded" || (is_lost && kind == Kind::Once),
            "that is not how it should have ended"
        );
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { attempts, lost, unstarted, lost_tasks } = self;
        write!(f, "{attempts} attempts, {lost} lost, {unstarted} never started, {lost_tasks} tasks lost as they asked")
    }
}
