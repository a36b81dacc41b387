//! Labels that workers and jobs carry, and selectors that choose by them.
//!
//! The syntax is nearly that of Kubernetes' equality-based selectors: `zone=a,gpu,!spot,disk!=hdd`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What something is labelled with.
pub type Labels = BTreeMap<String, String>;

/// The longest key or value of a label, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// The most labels on one thing, and the most requirements in one selector.
pub const MAX_LABELS: usize = 64;

/// Requirements on labels, all of which must hold. The empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Vec<Requirement>);

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Present(String),
    Absent(String),
}

/// Text that is no label or no selector, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LabelError(String);

impl Selector {
    /// Whether `labels` meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Equals(key, value) => labels.get(key) == Some(value),
            Requirement::Differs(key, value) => labels.get(key) != Some(value),
            Requirement::Present(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }

    /// Whether the selector asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.trim_matches(' ').is_empty() {
            return Ok(Selector::default());
        }
        let mut requirements = text.split(',').map(requirement).collect::<Result<Vec<_>, _>>()?;
        if requirements.len() > MAX_LABELS {
            return Err(LabelError(format!("has more than {MAX_LABELS} requirements")));
        }
        // One order for one meaning: tasks with the same needs are one class.
        requirements.sort();
        requirements.dedup();
        Ok(Selector(requirements))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match requirement {
                Requirement::Equals(key, value) => write!(f, "{comma}{key}={value}")?,
                Requirement::Differs(key, value) => write!(f, "{comma}{key}!={value}")?,
                Requirement::Present(key) => write!(f, "{comma}{key}")?,
                Requirement::Absent(key) => write!(f, "{comma}!{key}")?,
            }
        }
        Ok(())
    }
}

/// Reads labels written as `zone=a,gpu`; a key alone has the empty value.
///
/// # Errors
/// When a key or a value is malformed, or a key stands twice.
pub fn parse_labels(text: &str) -> Result<Labels, LabelError> {
    let mut labels = Labels::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(LabelError(format!("the key `{key}` stands twice")));
        }
    }
    check_labels(&labels)?;
    Ok(labels)
}

/// Checks every key and value of `labels`.
///
/// # Errors
/// When one is malformed or too long, or there are too many.
pub fn check_labels(labels: &Labels) -> Result<(), LabelError> {
    if labels.len() > MAX_LABELS {
        return Err(LabelError(format!("there are more than {MAX_LABELS} labels")));
    }
    for (key, value) in labels {
        check_key(key)?;
        check_value(value)?;
    }
    Ok(())
}

fn requirement(text: &str) -> Result<Requirement, LabelError> {
    let text = text.trim_matches(' ');
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::Differs(checked_key(key)?, checked_value(value)?));
    }
    if let Some((key, value)) = text.split_once('=') {
        return Ok(Requirement::Equals(checked_key(key)?, checked_value(value)?));
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(checked_key(key)?)),
        None => Ok(Requirement::Present(checked_key(text)?)),
    }
}

fn checked_key(key: &str) -> Result<String, LabelError> {
    check_key(key.trim_matches(' '))?;
    Ok(key.trim_matches(' ').to_owned())
}

fn checked_value(value: &str) -> Result<String, LabelError> {
    check_value(value.trim_matches(' '))?;
    Ok(value.trim_matches(' ').to_owned())
}

fn check_key(key: &str) -> Result<(), LabelError> {
    match key.is_empty() {
        true => Err(LabelError("a label's key is missing; write key=value, key, !key or key!=value".into())),
        false => check_value(key),
    }
}

fn check_value(text: &str) -> Result<(), LabelError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if text.len() > MAX_LABEL_BYTES {
        return Err(LabelError(format!("`{text}` is longer than {MAX_LABEL_BYTES} bytes")));
    }
    match text.bytes().all(allowed) {
        true => Ok(()),
        false => Err(LabelError(format!("`{text}` has a character other than letters, digits and -_./"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &str) -> bool {
        let selector: Selector = selector.parse().expect("a selector");
        selector.matches(&parse_labels(labels).expect("labels"))
    }

    #[test]
    fn every_requirement_must_hold() {
        assert!(matches("", "zone=a"));
        assert!(matches("zone=a,gpu", "zone=a,gpu=a100"));
        assert!(!matches("zone=a,gpu", "zone=a"));
        assert!(matches("!spot, zone != b", "zone=a"));
        assert!(!matches("!spot", "spot"));
        assert!(!matches("zone!=a", "zone=a"));
    }

    #[test]
    fn one_meaning_has_one_form() {
        let one: Selector = "gpu, zone=a,gpu".parse().expect("a selector");
        let other: Selector = "zone=a,gpu".parse().expect("a selector");
        assert_eq!(one, other);
        assert_eq!(one.to_string().parse(), Ok(other));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["=a", "zone=a,", "zone==a", "zo ne=a", "!", "a=\u{e9}", &"k".repeat(64)] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
        assert!(parse_labels("a=1,a=2").is_err());
    }
}
