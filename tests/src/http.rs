//! A client that speaks plain HTTP and JSON, as curl does.

use std::net::SocketAddr;
use std::sync::Once;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, header};
use serde_json::{Value, json};

/// A client of one master.
#[derive(Clone)]
pub struct Client {
    base: String,
    inner: reqwest::Client,
}

/// An answer, with its body as JSON if it is any.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body as JSON; null if it is none.
    pub json: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Client {
    /// A client of the master at `addr`.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn new(addr: SocketAddr) -> Result<Client> {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
        Ok(Client { base: format!("http://{addr}"), inner: reqwest::Client::builder().no_proxy().build()? })
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Posts JSON to `path`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.send(Method::POST, path, Some(body.to_string()), &[("content-type", "application/json")]).await
    }

    /// Posts JSON to `path`, under an idempotency key.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post_under(&self, key: &str, path: &str, body: &Value) -> Result<Response> {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send(Method::POST, path, Some(body.to_string()), &headers).await
    }

    /// Sends a request as it is given.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Result<Response> {
        let mut request = self.inner.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.unwrap_or_default()).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Response { status, headers, json, bytes })
    }

    /// Submits one task; its id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn submit(&self, spec: &Value) -> Result<String> {
        let response = self.post("/v1/tasks", spec).await?;
        ensure!(response.status == 201, "{response:?}");
        response.id()
    }

    /// Submits a job; its id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn submit_job(&self, spec: &Value) -> Result<String> {
        let response = self.post("/v1/jobs", spec).await?;
        ensure!(response.status == 201, "{response:?}");
        response.id()
    }

    /// Submits one task and waits for its end; the task.
    ///
    /// # Errors
    /// When it is not accepted, or does not end in time.
    pub async fn run(&self, spec: &Value) -> Result<Value> {
        let response = self.post("/v1/tasks?wait=60s", spec).await?;
        ensure!(response.status == 201, "{response:?}");
        ensure!(response.json.get("outcome").is_some(), "it has not ended: {}", response.json);
        Ok(response.json)
    }

    /// Runs a shell line to its end; the task.
    ///
    /// # Errors
    /// When it is not accepted, or does not end in time.
    pub async fn run_line(&self, cmd: &str) -> Result<Value> {
        self.run(&json!({ "cmd": cmd })).await
    }

    /// What a task wrote to one of its streams, as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn output(&self, task: &Value, stream: &str) -> Result<String> {
        let id = task["id"].as_str().context("a task has an id")?;
        let response = self.get(&format!("/v1/tasks/{id}/output?stream={stream}")).await?;
        ensure!(response.status == 200, "{response:?}");
        Ok(String::from_utf8(response.bytes)?)
    }

    /// What one attempt at a task wrote to its standard output, as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn output_of_attempt(&self, id: &str, attempt: u32) -> Result<String> {
        let response = self.get(&format!("/v1/tasks/{id}/output?stream=stdout&attempt={attempt}")).await?;
        ensure!(response.status == 200, "{response:?}");
        ensure!(response.headers["sortie-attempt"] == attempt.to_string(), "{response:?}");
        Ok(String::from_utf8(response.bytes)?)
    }

    /// Waits for a job's end; the job.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait_job(&self, id: &str) -> Result<Value> {
        let response = self.get(&format!("/v1/jobs/{id}?wait=120s")).await?;
        ensure!(response.json.get("ended_at").is_some(), "it has not ended: {response:?}");
        Ok(response.json)
    }
}

impl Response {
    /// The id in the body.
    ///
    /// # Errors
    /// When there is none.
    pub fn id(&self) -> Result<String> {
        Ok(self.json["id"].as_str().with_context(|| format!("no id in {self:?}"))?.to_owned())
    }

    /// The fields that a problem names.
    #[must_use]
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array();
        errors.into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect()
    }
}
