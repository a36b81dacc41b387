//! The `submit` command: the id, alone on standard output.

use reqwest::header::HeaderValue;
use serde_json::Value;
use sortie_master::api::Spec;

use super::http::Client;
use super::wait::{self, Target};
use super::{read, spec};
use crate::cli::{Format, KeyArgs, SubmitArgs};
use crate::exit::{Failure, Result};
use crate::talk;

/// How long a random key is, in bytes: nobody meets another's.
const KEY_BYTES: usize = 16;

/// What makes a repeat of a submission known as one.
#[derive(Clone, Debug)]
pub(crate) struct Key(HeaderValue);

impl Key {
    /// The key that was given, or a random one: then this program's own repeats are known, and no other's.
    pub(super) fn new(args: &KeyArgs) -> Result<Self> {
        let Some(key) = &args.key else { return Key::random() };
        let fits = HeaderValue::from_str(key).ok().filter(|_| !key.is_empty());
        let unfit = || Failure::usage("--idempotency-key: must be visible ASCII characters, and at least one");
        fits.map(Key).ok_or_else(unfit)
    }

    /// A key that no other submission has.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        let unknown = |error: &dyn std::fmt::Display| Failure::internal(format!("cannot make a random key: {error}"));
        getrandom::fill(&mut bytes).map_err(|error| unknown(&error))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::from_str(&text).map(Key).map_err(|error| unknown(&error))
    }
}

/// Submits a task or a job; with `--wait` the exit code of its end.
pub(super) async fn submit(client: &Client, args: SubmitArgs, format: Format) -> Result<u8> {
    let key = Key::new(&args.key)?;
    let spec = spec::read(args.spec)?;
    let (accepted, id) = match args.count {
        None => (task(client, &spec, &key).await?, "job"),
        Some(count) => (job(client, &spec, count, &key).await?, "id"),
    };
    // A job's id is short, and stands for its task if it has only one.
    let id: String = read(accepted.get(id).unwrap_or(&Value::Null))?;
    match format {
        Format::Json => talk::json(&accepted)?,
        Format::Table => talk::line(&id)?,
    }
    if !args.wait {
        return Ok(0);
    }
    let target = Target::Job(id);
    let ended = wait::ended(client, &target).await?;
    wait::code(client, &target, &ended).await
}

/// Submits one task; the master's answer.
pub(super) async fn task(client: &Client, spec: &Spec, key: &Key) -> Result<Value> {
    client.submit(&["tasks"], &body(spec)?, &key.0).await
}

async fn job(client: &Client, spec: &Spec, count: u32, key: &Key) -> Result<Value> {
    let mut body = body(spec)?;
    body["count"] = count.into();
    client.submit(&["jobs"], &body, &key.0).await
}

fn body(spec: &Spec) -> Result<Value> {
    serde_json::to_value(spec).map_err(|error| Failure::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_unless_it_is_given() {
        let key = |key: Option<&str>| Key::new(&KeyArgs { key: key.map(str::to_owned) });
        assert_eq!(key(Some("nightly-7")).expect("a key").0, "nightly-7");
        assert_eq!(key(Some("a\nb")).expect_err("no header").code(), 64);
        assert_eq!(key(Some("")).expect_err("no header").code(), 64);
        let [one, other] = [key(None).expect("a key").0, key(None).expect("a key").0];
        assert_ne!(one, other);
        assert_eq!(one.len(), 2 * KEY_BYTES);
    }
}
