//! A steady load: clients that submit one task after the other, whatever happens to the master.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use reqwest::Method;
use sortie_tests::{Client, eventually, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::sandbox::Sandbox;

/// How many clients speak HTTP.
const CLIENTS: usize = 3;
/// The time between two tries of a client that got no answer.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients that submit. Each waits for the end of its task, or nearly, before it submits the next: so there is always
/// something to do, and never much.
pub(crate) struct Load {
    ran: PathBuf,
    stop: CancellationToken,
    counts: Arc<Counts>,
    clients: JoinSet<Result<Vec<String>>>,
}

/// What has come of it so far.
#[derive(Default)]
struct Counts {
    acknowledged: AtomicUsize,
    /// Requests that no server took, or whose answer did not come.
    unanswered: AtomicUsize,
}

/// One client that speaks HTTP.
struct Submitter {
    http: Client,
    body: String,
    counts: Arc<Counts>,
}

impl Load {
    /// Starts clients of the master at `http`, whoever that is; their commands append their tasks' ids to a file.
    pub(crate) fn start(sandbox: &Arc<Sandbox>, http: SocketAddr) -> Result<Load> {
        let (ran, stop, counts) = (sandbox.path("ran"), CancellationToken::new(), Arc::<Counts>::default());
        let cmd = format!("echo $SORTIE_TASK_ID $SORTIE_ATTEMPT >> {}", ran.display());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let body = json!({ "cmd": cmd }).to_string();
            let client = Submitter { http: Client::new(http)?, body, counts: counts.clone() };
            clients.spawn(client.submit_on(number, stop.clone()));
        }
        clients.spawn(by_command_line(sandbox.clone(), http, cmd, counts.clone(), stop.clone()));
        Ok(Load { ran, stop, counts, clients })
    }

    /// Waits until so many more tasks have been accepted.
    pub(crate) async fn goes_on(&self, more: usize) -> Result<()> {
        let so_far = || self.counts.acknowledged.load(Ordering::Relaxed);
        let goal = so_far() + more;
        eventually("the load goes on", async || Ok(so_far() >= goal)).await
    }

    /// How many requests got no answer so far.
    pub(crate) fn unanswered(&self) -> usize {
        self.counts.unanswered.load(Ordering::Relaxed)
    }

    /// Stops the load; what was accepted.
    ///
    /// # Errors
    /// When a client got an answer that it should not have got.
    pub(crate) async fn stopped(mut self) -> Result<BTreeSet<String>> {
        self.stop.cancel();
        let mut accepted = BTreeSet::new();
        while let Some(client) = self.clients.join_next().await {
            for id in client?? {
                ensure!(accepted.insert(id.clone()), "{id} was given to two submissions");
            }
        }
        Ok(accepted)
    }

    /// What has run: the tasks' ids, once for each time that one has.
    pub(crate) fn ran(&self) -> Ran {
        Ran(self.ran.clone())
    }
}

/// The file to which the commands write.
pub(crate) struct Ran(PathBuf);

impl Ran {
    /// The ids, in order.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.0)?;
        let mut ids: Vec<_> = text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

impl Submitter {
    async fn submit_on(self, client: usize, stop: CancellationToken) -> Result<Vec<String>> {
        let mut accepted = Vec::new();
        while !stop.is_cancelled() {
            let key = format!("client-{client}-task-{}", accepted.len());
            accepted.push(self.submit(&key).await?);
            self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(accepted)
    }

    /// Submits one task until that is answered; its id.
    async fn submit(&self, key: &str) -> Result<String> {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        loop {
            let answer = self.http.send(Method::POST, "/v1/tasks?wait=10s", Some(self.body.clone()), &headers).await;
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 201) => return answer.id(),
                Ok(answer) => bail!("a submission was answered with {answer:?}"),
                Err(_) => {
                    self.counts.unanswered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The same with the binary, which asks again by itself.
async fn by_command_line(
    sandbox: Arc<Sandbox>,
    http: SocketAddr,
    cmd: String,
    counts: Arc<Counts>,
    stop: CancellationToken,
) -> Result<Vec<String>> {
    let mut accepted = Vec::new();
    while !stop.is_cancelled() {
        let mut submit = sandbox.asking_at(http, &["submit", "--cmd", &cmd]);
        let ended = tokio::task::spawn_blocking(move || submit.stdin(Stdio::null()).output()).await??;
        ensure!(ended.status.success(), "{ended:?}");
        accepted.push(format!("{}.0", String::from_utf8(ended.stdout)?.trim()));
        counts.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(accepted)
}
