//! Specs: what a client wrote as a draft, and what has been checked as it is shown.

use std::time::Duration;

use sortie_engine::{self as engine, Command, TaskSpec};
use sortie_wire::draft::{Draft, FieldError, RetryDraft};

use crate::api;

/// The draft that a client's spec stands for; its own check does the rest.
pub(crate) fn draft(spec: api::Spec) -> Result<Draft, Vec<FieldError>> {
    let mut errors = Vec::new();
    let draft = Draft {
        timeout: duration("/timeout", spec.timeout, &mut errors),
        kill_grace: duration("/kill_grace", spec.kill_grace, &mut errors),
        queue_timeout: duration("/queue_timeout", spec.queue_timeout, &mut errors),
        retry: retry(spec.retry.unwrap_or_default(), &mut errors),
        on_lost: spec.on_lost.map(engine::OnLost::from),
        max_lost: spec.max_lost,
        cmd: spec.cmd,
        argv: spec.argv,
        script: spec.script,
        name: spec.name,
        env: spec.env,
        cwd: spec.cwd,
        stdin: spec.stdin,
        priority: spec.priority,
        slots: spec.slots,
        selector: spec.selector,
        labels: spec.labels,
    };
    match errors.is_empty() {
        true => Ok(draft),
        // All problems at once: those of the other fields too.
        false => Err([errors, draft.check().err().unwrap_or_default()].concat()),
    }
}

fn retry(retry: api::Retry, errors: &mut Vec<FieldError>) -> RetryDraft {
    RetryDraft {
        count: retry.count,
        backoff: duration("/retry/backoff", retry.backoff, errors),
        max_backoff: duration("/retry/max_backoff", retry.max_backoff, errors),
        exit_codes: retry.exit_codes.into_iter().collect(),
    }
}

fn duration(pointer: &str, text: Option<String>, errors: &mut Vec<FieldError>) -> Option<Duration> {
    let parsed = text.map(|text| humantime::parse_duration(&text)).transpose();
    parsed.unwrap_or_else(|error| {
        errors.push(FieldError::new(pointer, format!("is not a duration such as 90s, 5m or 1h30m: {error}")));
        None
    })
}

/// A duration as it is shown.
pub(super) fn span(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl From<&TaskSpec> for api::Spec {
    fn from(spec: &TaskSpec) -> Self {
        let (mut cmd, mut argv, mut script) = (None, None, None);
        match spec.command.clone() {
            Command::Line(line) => cmd = Some(line),
            Command::Argv(arguments) => argv = Some(arguments),
            Command::Script(text) => script = Some(text),
        }
        let selector = &spec.needs.selector;
        api::Spec {
            cmd,
            argv,
            script,
            name: spec.name.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            stdin: spec.stdin.clone(),
            timeout: Some(span(spec.timeout)),
            kill_grace: Some(span(spec.kill_grace)),
            queue_timeout: Some(span(spec.queue_timeout)),
            retry: Some((&spec.retry).into()),
            on_lost: Some(spec.on_lost.into()),
            max_lost: Some(spec.max_lost),
            priority: Some(spec.priority),
            slots: Some(spec.needs.slots),
            selector: (!selector.is_empty()).then(|| selector.to_string()),
            labels: spec.labels.clone(),
        }
    }
}

impl From<&engine::Retry> for api::Retry {
    fn from(retry: &engine::Retry) -> Self {
        api::Retry {
            count: Some(retry.count),
            backoff: Some(span(retry.backoff)),
            max_backoff: Some(span(retry.max_backoff)),
            exit_codes: retry.exit_codes.iter().copied().collect(),
        }
    }
}

impl From<engine::OnLost> for api::OnLost {
    fn from(on_lost: engine::OnLost) -> Self {
        match on_lost {
            engine::OnLost::Retry => api::OnLost::Retry,
            engine::OnLost::Fail => api::OnLost::Fail,
        }
    }
}

impl From<api::OnLost> for engine::OnLost {
    fn from(on_lost: api::OnLost) -> Self {
        match on_lost {
            api::OnLost::Retry => engine::OnLost::Retry,
            api::OnLost::Fail => engine::OnLost::Fail,
        }
    }
}
