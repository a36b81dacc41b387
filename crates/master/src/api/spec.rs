//! What a task is, as clients write it and as it is shown to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::retry::{OnLost, Retry, retry_or_count};

/// What a task is. `{"cmd": "…"}` is enough: what is absent takes the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(title = "TaskSpec")]
pub struct Spec {
    /// A line for `/bin/sh -c`. Give one of `cmd`, `argv` and `script`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "echo hello", min_length = 1)]
    pub cmd: Option<String>,
    /// A program and its arguments, run as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub argv: Option<Vec<String>>,
    /// A file's text, with its `#!` line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^#!")]
    pub script: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Variables beside those that every command gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// An absolute path to run in; an empty directory of its own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^/")]
    pub cwd: Option<String>,
    /// The text on its standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How long the command may run; `1day` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "90s")]
    pub timeout: Option<String>,
    /// How long it has between TERM and KILL; `10s` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10s")]
    pub kill_grace: Option<String>,
    /// How long it may wait for a worker; `7days` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "7days")]
    pub queue_timeout: Option<String>,
    /// What is done about a command that failed, or ran into its timeout; nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "retry_or_count")]
    pub retry: Option<Retry>,
    /// Whether it may run again when an attempt was lost that had started, or may have; `retry` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<OnLost>,
    /// How often it is tried again after an attempt was lost; 3 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000)]
    pub max_lost: Option<u32>,
    /// Higher goes first, FIFO within; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// How many of a worker's slots it takes; 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65_535)]
    pub slots: Option<u32>,
    /// Which workers it may run on, by their labels: `zone=a,gpu,!spot,disk!=hdd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "zone=a,gpu")]
    pub selector: Option<String>,
    /// What it is labelled with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
