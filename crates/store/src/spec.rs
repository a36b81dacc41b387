//! A spec as JSON, without what has columns of its own: name, labels and slots.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_engine::{Command, Labels, Needs, TaskSpec};

use crate::error::{Fault, damaged};

/// What the columns of `jobs` say of a spec.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) name: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) slots: u32,
}

/// The JSON's shape; fields that are missing take the value of nothing.
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
        priority: stored.priority,
        needs: Needs { slots: columns.slots, selector },
        labels: columns.labels,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sortie_engine::Draft;

    fn round_trip(draft: Draft) {
        let spec = draft.check().expect("a spec");
        let columns = Columns { name: spec.name.clone(), labels: spec.labels.clone(), slots: spec.needs.slots };
        let json = encode(&spec).expect("json");
        assert_eq!(decode(&json, columns).expect("a spec"), spec, "{json}");
    }

    #[test]
    fn specs_come_back_as_they_were() {
        round_trip(Draft { cmd: Some("echo \u{e9}\n".into()), ..Draft::default() });
        round_trip(Draft { script: Some("#!/bin/sh\n".into()), stdin: Some("\0".into()), ..Draft::default() });
        round_trip(Draft {
            argv: Some(vec!["a".into(), String::new()]),
            name: Some("nightly".into()),
            env: [("A".into(), "\"1\"".into())].into(),
            cwd: Some("/tmp".into()),
            timeout: Some(Duration::from_millis(1)),
            kill_grace: Some(Duration::from_secs(2)),
            queue_timeout: Some(Duration::from_secs(3)),
            priority: Some(-7),
            slots: Some(65_535),
            selector: Some("zone=a,gpu,!spot,disk!=hdd,empty=".into()),
            labels: [("team".into(), "x".into())].into(),
            ..Draft::default()
        });
    }
}
