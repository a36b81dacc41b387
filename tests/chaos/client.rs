//! A client that tries again until it is told that a task is taken, and reads how each has ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use sortie_tests::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before what failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long all tasks may take to end once nothing breaks any more.
const END_TIMEOUT: Duration = Duration::from_secs(240);
/// How many tasks wait or run at once: enough for both workers to be busy, and for a queue to survive.
const UNDER_WAY: usize = 60;

/// What becomes of a task by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It succeeds, however often it is lost before.
    Plain,
    /// Its first command that comes to its end fails, and another one succeeds.
    Flaky,
    /// It is not to be run again once it may have started.
    Once,
    /// It leaves a daemon behind that heeds no TERM and has left its group.
    Daemon,
}

/// What Sortie says of a task in the end.
pub(crate) struct Told {
    pub(crate) kind: Kind,
    pub(crate) task: Value,
}

#[derive(Clone)]
pub(crate) struct Client {
    http: sortie_tests::Client,
    log: PathBuf,
    locks: PathBuf,
}

impl Client {
    pub(crate) fn new(master: SocketAddr, log: PathBuf, locks: PathBuf) -> Result<Client> {
        Ok(Client { http: sortie_tests::Client::new(master)?, log, locks })
    }

    /// Submits tasks, a few dozen ahead of what has ended, until there are `count`; once `over`, without a wait. Their
    /// ids.
    pub(crate) async fn submit_all(self, count: u64, over: CancellationToken) -> Result<BTreeMap<String, Kind>> {
        let mut ids = BTreeMap::new();
        for number in 0..count {
            while !over.is_cancelled() && self.live().await.is_some_and(|live| live >= UNDER_WAY) {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            let kind = match number % 10 {
                0..=5 => Kind::Plain,
                6 | 7 => Kind::Flaky,
                8 => Kind::Once,
                _ => Kind::Daemon,
            };
            let id = self.submit(number, kind).await?;
            ensure!(ids.insert(id, kind).is_none(), "an id was given twice");
        }
        Ok(ids)
    }

    /// Submits one task under a key of its own until it is taken.
    async fn submit(&self, number: u64, kind: Kind) -> Result<String> {
        let (body, key) = (self.spec(number, kind).to_string(), format!("chaos-{number}"));
        let headers = [("content-type", "application/json"), ("idempotency-key", &*key)];
        loop {
            let answer = self.http.send(Method::POST, "/v1/tasks", Some(body.clone()), &headers);
            match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(response)) if response.status == 201 => return response.id(),
                Ok(Ok(response)) if ![429, 503].contains(&response.status) => bail!("{response:?}"),
                Ok(_) | Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    fn spec(&self, number: u64, kind: Kind) -> Value {
        let (log, locks) = (self.log.display(), self.locks.display());
        // Some outlast any lease: nobody ends these in time but who must.
        let seconds = if number % 11 == 3 { 6 } else { number % 3 / 2 };
        let hundredths = number * 37 % 100;
        // Whatever of it lives holds the lock: the daemon inherits it too.
        let begin = format!(
            "exec 9>>{locks}/$SORTIE_TASK_ID; flock -n 9 || echo overlap $SORTIE_TASK_ID $SORTIE_ATTEMPT >> {log}\n\
             echo start $SORTIE_TASK_ID $SORTIE_ATTEMPT >> {log}"
        );
        let work = match kind {
            Kind::Daemon => "setsid sh -c 'trap \"\" TERM HUP; (sleep 600 & wait) & wait' >/dev/null 2>&1 &",
            Kind::Plain | Kind::Flaky | Kind::Once => ":",
        };
        let code = match kind {
            Kind::Flaky => format!("$(grep -q \"^end $SORTIE_TASK_ID \" {log} && echo 0 || echo 7)"),
            Kind::Plain | Kind::Once | Kind::Daemon => "0".to_owned(),
        };
        let end = format!(
            "sleep {seconds}.{hundredths:02}; code={code}\n\
             echo end $SORTIE_TASK_ID $SORTIE_ATTEMPT $code >> {log}; exit $code"
        );
        json!({
            "cmd": format!("{begin}\n{work}\n{end}"),
            "kill_grace": "500ms",
            "retry": { "count": 50, "backoff": "50ms", "max_backoff": "300ms", "exit_codes": [7] },
            "on_lost": if kind == Kind::Once { "fail" } else { "retry" },
            "max_lost": 1000,
        })
    }

    /// How many tasks have not ended; nothing if the master is away.
    async fn live(&self) -> Option<usize> {
        let states = "queued&state=assigned&state=running&state=unreachable&state=cancelling";
        let response = self.get(&format!("/v1/tasks?state={states}&limit=1000")).await?;
        response["tasks"].as_array().map(Vec::len)
    }

    /// How many tasks the master knows.
    pub(crate) async fn known(&self) -> Result<usize> {
        let (mut known, mut cursor) = (0, String::new());
        loop {
            let page = self.get(&format!("/v1/tasks?limit=1000{cursor}")).await.context("the master is there")?;
            known += page["tasks"].as_array().map_or(0, Vec::len);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(known),
            }
        }
    }

    /// The gauge of tasks past their deadlines; nothing if the master is away.
    pub(crate) async fn past_deadline(&self) -> Option<u64> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.http.get("/metrics")).await.ok()?.ok()?;
        let text = String::from_utf8(answer.bytes).ok()?;
        let gauge = text.lines().find_map(|line| line.strip_prefix("sortie_tasks_past_deadline "))?;
        gauge.trim().parse().ok()
    }

    /// Waits until every task has ended; what is said of them.
    pub(crate) async fn wait_for_all(&self, ids: &BTreeMap<String, Kind>) -> Result<BTreeMap<String, Told>> {
        let all = async {
            let mut told = BTreeMap::new();
            for (id, kind) in ids {
                let task = loop {
                    match self.get(&format!("/v1/tasks/{id}?wait=2s")).await {
                        Some(task) if task.get("outcome").is_some() => break task,
                        Some(_) | None => tokio::time::sleep(RETRY_INTERVAL).await,
                    }
                };
                told.insert(id.clone(), Told { kind: *kind, task });
            }
            told
        };
        tokio::time::timeout(END_TIMEOUT, all).await.context("not every task has come to its end")
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.http.get(path)).await.ok()?.ok()?;
        (answer.status == 200).then_some(answer.json)
    }
}
