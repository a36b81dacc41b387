//! Speaking to a master over HTTP.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::Serialize;
use serde_json::Value;
use sortie_master::api::Problem;

use super::patience::{Patience, Unanswered};
use crate::exit::{Failure, Result};
use crate::settings::env::Environment;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the master may be silent in an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// What an error looks like.
const PROBLEM: &str = "application/problem+json";
/// What makes a repeat of a submission known as one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// No query.
pub(super) const NO_QUERY: [(&str, &str); 0] = [];

/// A master, as a client sees it.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    patience: Patience,
}

/// Bytes, and what was said about them.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

/// What came of asking once.
type Asked<T> = std::result::Result<T, Unanswered>;

impl Client {
    /// A client of the master at `server`, which it asks again for `retry_for` if there is no answer; it passes the
    /// environment's trace context on.
    pub(crate) fn new(server: &str, retry_for: Duration, environment: &Environment) -> Result<Self> {
        let unusable = |error: &dyn std::fmt::Display| Failure::usage(format!("`{server}` cannot be used: {error}"));
        let server: Url = server.parse().map_err(|error| unusable(&error))?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(environment))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none());
        if server.scheme() == "http" {
            // Reading the system's certificates takes time, and fails where there are none, for nothing.
            http = http.tls_certs_only([]);
        }
        if is_loopback(&server) {
            // No proxy knows this machine's loopback.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| unusable(&error))?;
        Ok(Client { http, server, patience: Patience::new(retry_for) })
    }

    /// Asks for what is at `path`.
    pub(super) async fn get(&self, path: &[&str], query: &impl Serialize) -> Result<Value> {
        let ask = async || {
            let request = self.request(Method::GET, path)?.query(query).timeout(READ_TIMEOUT);
            answer(self.send(request).await?).await
        };
        self.patience.ask(ask).await
    }

    /// Asks for what is at `path`, which the master has taken on, and lets it wait with its answer for `wait`.
    pub(super) async fn get_waiting(&self, path: &[&str], wait: Duration) -> Result<Value> {
        let query = [("wait", humantime::format_duration(wait).to_string())];
        let ask = async || {
            let request = self.request(Method::GET, path)?.query(&query).timeout(wait + READ_TIMEOUT);
            answer(self.send(request).await?).await
        };
        self.patience.in_waiting().ask(ask).await
    }

    /// Asks for bytes, all at once: if the connection breaks, those of the next try may be others.
    pub(super) async fn download(&self, path: &[&str], query: &impl Serialize) -> Result<Download> {
        let ask = async || {
            let request = self.request(Method::GET, path)?.query(query);
            let mut response = succeeded(in_time(self.send(request)).await??).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = in_time(response.chunk()).await?.map_err(broken_off)? {
                bytes.extend_from_slice(&chunk);
            }
            Ok(Download { headers: std::mem::take(response.headers_mut()), bytes })
        };
        self.patience.ask(ask).await
    }

    /// Asks for something to be so.
    pub(super) async fn post(&self, path: &[&str]) -> Result<Value> {
        let ask = async || {
            let request = self.request(Method::POST, path)?.timeout(READ_TIMEOUT);
            answer(self.send(request).await?).await
        };
        self.patience.ask(ask).await
    }

    /// Submits something; a repeat with the same key is known as one.
    pub(super) async fn submit(&self, path: &[&str], body: &Value, key: &HeaderValue) -> Result<Value> {
        let ask = async || {
            let request = self.request(Method::POST, path)?.timeout(READ_TIMEOUT);
            answer(self.send(request.header(IDEMPOTENCY_KEY, key).json(body)).await?).await
        };
        self.patience.ask(ask).await
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        let mut url = self.server.clone();
        let segments = url.path_segments_mut();
        let mut segments = segments.map_err(|()| Failure::usage(format!("`{}` has no paths", self.server)))?;
        segments.pop_if_empty().push("v1").extend(path);
        drop(segments);
        Ok(self.http.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(|error| match error.is_builder() {
            true => Failure::internal(cause(&error)),
            false => Failure::unavailable(format!(
                "the master at {} cannot be reached: {}; start one with `sortie dev`, or name another with --server or \
                 SORTIE_SERVER",
                self.server,
                cause(&error)
            )),
        })
    }
}

/// Waits for a part of an answer.
async fn in_time<T>(part: impl Future<Output = T>) -> Result<T> {
    let too_late = |_| Failure::unavailable("the master's answer broke off: it was silent for too long");
    tokio::time::timeout(READ_TIMEOUT, part).await.map_err(too_late)
}

fn broken_off(error: reqwest::Error) -> Failure {
    Failure::unavailable(format!("the master's answer broke off: {}", cause(&error)))
}

fn headers(environment: &Environment) -> HeaderMap {
    let traceparent = environment.text("TRACEPARENT").and_then(|value| HeaderValue::from_str(value).ok());
    traceparent.map(|value| (HeaderName::from_static("traceparent"), value)).into_iter().collect()
}

fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn answer(response: Response) -> Asked<Value> {
    let response = succeeded(response).await?;
    let url = response.url().clone();
    let body = response.bytes().await.map_err(broken_off)?;
    let read = serde_json::from_slice(&body);
    Ok(read.map_err(|error| Failure::internal(format!("what answers at {url} is no Sortie master: {error}")))?)
}

/// The answer, unless it is an error.
async fn succeeded(response: Response) -> Asked<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let is_problem =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
    let (url, after) = (response.url().clone(), retry_after(response.headers()));
    let problem = if is_problem { response.json::<Problem>().await.ok() } else { None };
    let message = problem
        .map_or_else(|| format!("{url} answered {status}; is it a Sortie master?"), |problem| sentences(&problem));
    Err(Unanswered { failure: Failure::of_status(status.as_u16(), message), after })
}

/// How soon the master may be asked again, if it says so in seconds. Nobody here writes the other form, a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What a problem says; one line for each field.
fn sentences(problem: &Problem) -> String {
    let fields: Vec<String> =
        problem.errors.iter().map(|field| format!("  {}: {}", field.pointer, field.detail)).collect();
    match (fields.as_slice(), problem.detail.is_empty()) {
        ([], true) => problem.title.clone(),
        ([], false) => problem.detail.clone(),
        (fields, _) => format!("the master cannot accept this:\n{}", fields.join("\n")),
    }
}

/// The innermost cause: what the libraries put round it says nothing to a person.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost.to_string() }
}

#[cfg(test)]
mod tests {
    use sortie_master::api::FieldProblem;

    use super::*;

    fn url(server: &str, path: &[&str]) -> String {
        // Every test starts with the same provider; the second time is no error.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(server, Duration::ZERO, &Environment::default()).expect("a client");
        let request = client.request(Method::GET, path).expect("a path").build().expect("a request");
        request.url().to_string()
    }

    #[test]
    fn a_path_is_one_segment_each() {
        assert_eq!(url("http://127.0.0.1:1", &["tasks", "42.0"]), "http://127.0.0.1:1/v1/tasks/42.0");
        assert_eq!(url("http://h/behind/", &["workers", "a/b"]), "http://h/behind/v1/workers/a%2Fb");
    }

    #[test]
    fn loopback_has_many_names() {
        let is = |server: &str| is_loopback(&server.parse().expect("a URL"));
        assert!(is("http://localhost:1") && is("http://127.0.0.1") && is("http://[::1]:9092"));
        assert!(!is("http://master:9092") && !is("http://10.0.0.1"));
    }

    #[test]
    fn a_busy_master_says_when_to_come_again() {
        let after = |text| retry_after(&[(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect());
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn fields_have_a_line_each() {
        let field = |pointer: &str| FieldProblem { pointer: pointer.into(), detail: "is wrong".into() };
        let problem = Problem {
            detail: "2 fields cannot be".into(),
            errors: vec![field("/a"), field("/b")],
            ..Problem::default()
        };
        assert_eq!(sentences(&problem), "the master cannot accept this:\n  /a: is wrong\n  /b: is wrong");
    }
}
