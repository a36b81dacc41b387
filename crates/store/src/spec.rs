//! A spec as JSON, without what has columns of its own: name, labels and slots.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_engine::{Command, Labels, Needs, OnLost, Retry, TaskSpec};

use crate::error::{Fault, damaged};

/// What the columns of `jobs` say of a spec.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) name: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) slots: u32,
}

// What the JSON leaves out, which is what most specs say. It is part of the format: the defaults of clients may
// change, and these may not.
const USUAL_RETRY: Retry = Retry {
    count: 0,
    backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(300),
    exit_codes: BTreeSet::new(),
};
const USUAL_ON_LOST: OnLost = OnLost::Retry;
const USUAL_MAX_LOST: u32 = 3;

/// The JSON's shape; fields that are missing take the value of nothing, or the usual one.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    command: StoredCommand<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<Cow<'a, BTreeMap<String, String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cwd: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdin: Option<Cow<'a, str>>,
    timeout_ms: u64,
    kill_grace_ms: u64,
    queue_timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<StoredRetry<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_lost: Option<StoredOnLost>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_lost: Option<u32>,
    priority: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    selector: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredCommand<'a> {
    Line(Cow<'a, str>),
    Argv(Cow<'a, [String]>),
    Script(Cow<'a, str>),
}

#[derive(Serialize, Deserialize)]
struct StoredRetry<'a> {
    count: u32,
    backoff_ms: u64,
    max_backoff_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_codes: Option<Cow<'a, BTreeSet<i32>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredOnLost {
    Retry,
    Fail,
}

/// A spec as JSON.
pub(crate) fn encode(spec: &TaskSpec) -> Result<String, Fault> {
    let stored = Stored {
        command: match &spec.command {
            Command::Line(line) => StoredCommand::Line(line.into()),
            Command::Argv(argv) => StoredCommand::Argv(argv.into()),
            Command::Script(script) => StoredCommand::Script(script.into()),
        },
        env: (!spec.env.is_empty()).then_some(Cow::Borrowed(&spec.env)),
        cwd: spec.cwd.as_deref().map(Cow::Borrowed),
        stdin: spec.stdin.as_deref().map(Cow::Borrowed),
        timeout_ms: ms(spec.timeout),
        kill_grace_ms: ms(spec.kill_grace),
        queue_timeout_ms: ms(spec.queue_timeout),
        retry: (spec.retry != USUAL_RETRY).then(|| StoredRetry::from(&spec.retry)),
        on_lost: (spec.on_lost != USUAL_ON_LOST).then(|| spec.on_lost.into()),
        max_lost: (spec.max_lost != USUAL_MAX_LOST).then_some(spec.max_lost),
        priority: spec.priority,
        selector: spec.needs.selector.to_string(),
    };
    Ok(serde_json::to_string(&stored)?)
}

/// The spec that the JSON and the columns are of.
pub(crate) fn decode(json: &str, columns: Columns) -> Result<TaskSpec, Fault> {
    let stored: Stored<'_> = serde_json::from_str(json)?;
    let selector = stored.selector.parse().map_err(|error| damaged(format!("a spec's selector {error}")))?;
    Ok(TaskSpec {
        command: match stored.command {
            StoredCommand::Line(line) => Command::Line(line.into_owned()),
            StoredCommand::Argv(argv) => Command::Argv(argv.into_owned()),
            StoredCommand::Script(script) => Command::Script(script.into_owned()),
        },
        name: columns.name,
        env: stored.env.map(Cow::into_owned).unwrap_or_default(),
        cwd: stored.cwd.map(Cow::into_owned),
        stdin: stored.stdin.map(Cow::into_owned),
        timeout: Duration::from_millis(stored.timeout_ms),
        kill_grace: Duration::from_millis(stored.kill_grace_ms),
        queue_timeout: Duration::from_millis(stored.queue_timeout_ms),
        retry: stored.retry.map_or(USUAL_RETRY, Retry::from),
        on_lost: stored.on_lost.map_or(USUAL_ON_LOST, OnLost::from),
        max_lost: stored.max_lost.unwrap_or(USUAL_MAX_LOST),
        priority: stored.priority,
        needs: Needs { slots: columns.slots, selector },
        labels: columns.labels,
    })
}

impl<'a> From<&'a Retry> for StoredRetry<'a> {
    fn from(retry: &'a Retry) -> Self {
        StoredRetry {
            count: retry.count,
            backoff_ms: ms(retry.backoff),
            max_backoff_ms: ms(retry.max_backoff),
            exit_codes: (!retry.exit_codes.is_empty()).then_some(Cow::Borrowed(&retry.exit_codes)),
        }
    }
}

impl From<StoredRetry<'_>> for Retry {
    fn from(stored: StoredRetry<'_>) -> Self {
        Retry {
            count: stored.count,
            backoff: Duration::from_millis(stored.backoff_ms),
            max_backoff: Duration::from_millis(stored.max_backoff_ms),
            exit_codes: stored.exit_codes.map(Cow::into_owned).unwrap_or_default(),
        }
    }
}

impl From<OnLost> for StoredOnLost {
    fn from(on_lost: OnLost) -> Self {
        match on_lost {
            OnLost::Retry => StoredOnLost::Retry,
            OnLost::Fail => StoredOnLost::Fail,
        }
    }
}

impl From<StoredOnLost> for OnLost {
    fn from(stored: StoredOnLost) -> Self {
        match stored {
            StoredOnLost::Retry => OnLost::Retry,
            StoredOnLost::Fail => OnLost::Fail,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> TaskSpec {
        TaskSpec::new(Command::Line(text.into()))
    }

    fn round_trip(spec: TaskSpec) {
        let columns = Columns { name: spec.name.clone(), labels: spec.labels.clone(), slots: spec.needs.slots };
        let json = encode(&spec).expect("json");
        assert_eq!(decode(&json, columns).expect("a spec"), spec, "{json}");
    }

    #[test]
    fn specs_come_back_as_they_were() {
        round_trip(line("echo \u{e9}\n"));
        let script = Command::Script("#!/bin/sh\n".into());
        round_trip(TaskSpec { stdin: Some("\0".into()), ..TaskSpec::new(script) });
        round_trip(TaskSpec {
            command: Command::Argv(vec!["a".into(), String::new()]),
            name: Some("nightly".into()),
            env: [("A".into(), "\"1\"".into())].into(),
            cwd: Some("/tmp".into()),
            stdin: None,
            timeout: Duration::from_millis(1),
            kill_grace: Duration::from_secs(2),
            queue_timeout: Duration::from_secs(3),
            retry: Retry {
                count: 5,
                backoff: Duration::from_millis(7),
                max_backoff: Duration::from_secs(8),
                exit_codes: [1, 75].into(),
            },
            on_lost: OnLost::Fail,
            max_lost: 0,
            priority: -7,
            needs: Needs { slots: 65_535, selector: "zone=a,gpu,!spot,disk!=hdd,empty=".parse().expect("a selector") },
            labels: [("team".into(), "x".into())].into(),
        });
        let each = [
            Retry { count: 1, ..Retry::default() },
            Retry { backoff: Duration::from_secs(2), ..Retry::default() },
            Retry { max_backoff: Duration::from_secs(2), ..Retry::default() },
            Retry { exit_codes: [9].into(), ..Retry::default() },
        ];
        for retry in each {
            round_trip(TaskSpec { retry, ..line("true") });
        }
    }

    /// What is usual takes no bytes, a million times over; and what the format leaves out never means anything else.
    #[test]
    fn what_is_usual_is_left_out() {
        let spec = line("true");
        let json = "{\"command\":{\"line\":\"true\"},\"timeout_ms\":86400000,\"kill_grace_ms\":10000,\
            \"queue_timeout_ms\":604800000,\"priority\":0}";
        assert_eq!(encode(&spec).expect("json"), json);
    }
}
