//! Reading and writing of single values. What cannot be says what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;
use sortie_engine::{Labels, MAX_DURATION, MAX_LABEL_BYTES, MAX_SLOTS, parse_labels};

/// An address to listen on.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| D::Error::custom(format!("`{text}` is no IP:PORT, such as 127.0.0.1:9092")))
}

/// A path that names something.
pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom("is empty; name a directory"));
    }
    Ok(path)
}

/// A worker's name, which is part of paths too.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let dots = name.chars().all(|c| c == '.');
    if dots || name.len() > MAX_LABEL_BYTES || !name.chars().all(allowed) {
        let rule = format!("must be 1 to {MAX_LABEL_BYTES} letters, digits, dashes, underscores and dots");
        return Err(D::Error::custom(format!("`{name}` is no worker's name; it {rule}")));
    }
    Ok(name)
}

/// Where something is found over HTTP.
pub(super) fn url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let url = reqwest::Url::parse(&text).ok();
    if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()) {
        return Err(D::Error::custom(format!("`{text}` is no URL, such as http://HOST:PORT")));
    }
    Ok(text)
}

/// How many slots a worker has.
pub(super) fn slots<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let slots = u32::deserialize(from)?;
    if !(1..=MAX_SLOTS).contains(&slots) {
        return Err(D::Error::custom(format!("must be 1 to {MAX_SLOTS}, not {slots}")));
    }
    Ok(slots)
}

/// A duration that is not nothing.
pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let span: Duration = humantime_serde::deserialize(from)?;
    if span.is_zero() || span > MAX_DURATION {
        return Err(D::Error::custom("must be from 1ms to 365days"));
    }
    Ok(span)
}

/// Labels as `zone=a,gpu`.
pub(super) fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
    parse_labels(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Labels as they are read.
pub(super) fn write_labels<S: Serializer>(labels: &Labels, to: S) -> Result<S::Ok, S::Error> {
    let labels: Vec<String> = labels.iter().map(label_text).collect();
    to.serialize_str(&labels.join(","))
}

/// One label as it is read; the empty value stays away.
fn label_text((key, value): (&String, &String)) -> String {
    if value.is_empty() { key.clone() } else { format!("{key}={value}") }
}
