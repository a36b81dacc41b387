//! Reading and writing of single values. What cannot be says what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;
use sortie_engine::{Labels, parse_labels};
use sortie_wire::draft::{MAX_DURATION, MAX_SLOTS};
use sortie_wire::node::MAX_NAME_BYTES;

use crate::render;

/// The shortest duration that is not nothing: durations are counted in whole milliseconds.
const SHORTEST_SPAN: Duration = Duration::from_millis(1);
const SECONDS_A_DAY: u64 = 86_400;

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

/// A worker's name, as a master takes it. It is part of paths too, where dots alone are no name.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let dots = name.chars().all(|c| c == '.');
    if dots || name.len() > MAX_NAME_BYTES || !name.chars().all(allowed) {
        let rule = format!("must be 1 to {MAX_NAME_BYTES} letters, digits, dashes, underscores and dots");
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
    let slots = u32::deserialize(from).ok().filter(|slots| (1..=MAX_SLOTS).contains(slots));
    slots.ok_or_else(|| D::Error::custom(format!("must be a number from 1 to {MAX_SLOTS}")))
}

/// How many there may be of something; none would be no use.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let amount = usize::deserialize(from).ok().filter(|amount| *amount > 0);
    amount.ok_or_else(|| D::Error::custom("must be a whole number from 1"))
}

/// A duration.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let duration = humantime::parse_duration(&text);
    let duration =
        duration.map_err(|_| D::Error::custom(format!("`{text}` is no duration, such as 500ms, 90s or 1h 30m")))?;
    if duration > MAX_DURATION {
        return Err(D::Error::custom(format!("must be at most {}days", MAX_DURATION.as_secs() / SECONDS_A_DAY)));
    }
    Ok(duration)
}

/// A duration that is not nothing.
pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let span = duration(from)?;
    if span < SHORTEST_SPAN {
        return Err(D::Error::custom(format!("must be at least {}", humantime::format_duration(SHORTEST_SPAN))));
    }
    Ok(span)
}

/// Labels as `zone=a,gpu`.
pub(super) fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
    parse_labels(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Labels as they are read.
pub(super) fn write_labels<S: Serializer>(labels: &Labels, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&render::labels(labels))
}
