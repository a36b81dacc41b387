//! Speaking to a master over HTTP.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::Serialize;
use serde_json::Value;
use sortie_master::api::Problem;

use crate::exit::{Failure, Result};
use crate::settings::env::Environment;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the master may be silent in an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// What an error looks like.
const PROBLEM: &str = "application/problem+json";
/// No query.
pub(super) const NO_QUERY: [(&str, &str); 0] = [];

/// A master, as a client sees it.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
}

impl Client {
    /// A client of the master at `server`; it passes the environment's trace context on.
    pub(crate) fn new(server: &str, environment: &Environment) -> Result<Self> {
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
        Ok(Client { http: http.build().map_err(|error| unusable(&error))?, server })
    }

    /// Asks for what is at `path`.
    pub(super) async fn get(&self, path: &[&str], query: &impl Serialize) -> Result<Value> {
        let request = self.request(Method::GET, path)?.query(query).timeout(READ_TIMEOUT);
        answer(self.send(request).await?).await
    }

    /// Asks for what is at `path`, and lets the master wait with its answer for `wait`.
    pub(super) async fn get_waiting(&self, path: &[&str], wait: Duration) -> Result<Value> {
        let query = [("wait", humantime::format_duration(wait).to_string())];
        let request = self.request(Method::GET, path)?.query(&query).timeout(wait + READ_TIMEOUT);
        answer(self.send(request).await?).await
    }

    /// Asks for bytes that may be many.
    pub(super) async fn download(&self, path: &[&str], query: &impl Serialize) -> Result<Response> {
        succeeded(self.send(self.request(Method::GET, path)?.query(query)).await?).await
    }

    /// Asks for something to be done.
    pub(super) async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<Value> {
        let request = self.request(Method::POST, path)?.timeout(READ_TIMEOUT);
        let request = body.into_iter().fold(request, RequestBuilder::json);
        answer(self.send(request).await?).await
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

/// The next bytes of an answer, if there are more.
pub(super) async fn chunk(response: &mut Response) -> Result<Option<impl AsRef<[u8]>>> {
    let chunk = tokio::time::timeout(READ_TIMEOUT, response.chunk()).await;
    let chunk = chunk.map_err(|_| Failure::unavailable("the master's answer broke off: it was silent for too long"))?;
    chunk.map_err(|error| Failure::unavailable(format!("the master's answer broke off: {}", cause(&error))))
}

fn headers(environment: &Environment) -> HeaderMap {
    let traceparent = environment.text("TRACEPARENT").and_then(|value| HeaderValue::from_str(value).ok());
    traceparent.map(|value| (reqwest::header::HeaderName::from_static("traceparent"), value)).into_iter().collect()
}

fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn answer(response: Response) -> Result<Value> {
    let response = succeeded(response).await?;
    let url = response.url().clone();
    response.json().await.map_err(|error| match error.is_decode() {
        true => Failure::internal(format!("what answers at {url} is no Sortie master: {}", cause(&error))),
        false => Failure::unavailable(format!("the master's answer broke off: {}", cause(&error))),
    })
}

/// The answer, unless it is an error.
async fn succeeded(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let is_problem =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
    let url = response.url().clone();
    let problem = if is_problem { response.json::<Problem>().await.ok() } else { None };
    let message = problem
        .map_or_else(|| format!("{url} answered {status}; is it a Sortie master?"), |problem| sentences(&problem));
    Err(Failure::of_status(status.as_u16(), message))
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
        let client = Client::new(server, &Environment::default()).expect("a client");
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
