//! When a task is tried again.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is done about a command that failed, or ran into its timeout. A bare number is taken for `count`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often the task is tried again, to 1000; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The longest wait before the second attempt; it doubles with each that fails. `1s` if absent. The wait itself
    /// is chosen at random, from nothing to the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1s")]
    pub backoff: Option<String>,
    /// The longest wait before any attempt; `5m` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "5m")]
    pub max_backoff: Option<String>,
    /// The exit codes that are worth another attempt, 1 to 255. If absent every failure is, signals and timeouts too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit_codes: Vec<i32>,
}

/// Whether a task may run again of which an attempt was lost that had started, or may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// It may.
    Retry,
    /// It may not: the task is lost.
    Fail,
}

/// Reads a [`Retry`], or the number that stands for one.
pub(super) fn retry_or_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Retry>, D::Error> {
    from.deserialize_any(RetryVisitor)
}

struct RetryVisitor;

impl RetryVisitor {
    fn count<E: Error>(count: Option<u32>, found: Unexpected<'_>) -> Result<Option<Retry>, E> {
        let count = count.ok_or_else(|| E::invalid_value(found, &"how often to try again, from 0 to 1000"))?;
        Ok(Some(Retry { count: Some(count), ..Retry::default() }))
    }
}

impl<'de> Visitor<'de> for RetryVisitor {
    type Value = Option<Retry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with count, backoff, max_backoff and exit_codes, or a number for its count")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        RetryVisitor::count(u32::try_from(number).ok(), Unexpected::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        RetryVisitor::count(u32::try_from(number).ok(), Unexpected::Signed(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        Retry::deserialize(MapAccessDeserializer::new(fields)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::{Retry, Spec};

    fn retry(value: &Value) -> Result<Option<Retry>, String> {
        let spec = serde_json::from_value::<Spec>(json!({ "cmd": "true", "retry": value }));
        spec.map(|spec| spec.retry).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_stands_for_the_count() {
        let three = Retry { count: Some(3), ..Retry::default() };
        assert_eq!(retry(&json!(3)), Ok(Some(three.clone())));
        assert_eq!(retry(&json!({ "count": 3 })), Ok(Some(three)));
        assert_eq!(retry(&json!({})), Ok(Some(Retry::default())));
        assert_eq!(retry(&json!(null)), Ok(None));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let bad =
            [json!("3"), json!([]), json!(-1), json!(1.5), json!(true), json!({ "counts": 3 }), json!(1_u64 << 40)];
        for value in bad {
            assert!(retry(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_served_can_be_submitted() {
        let given = Retry { count: Some(2), backoff: Some("2s".into()), max_backoff: None, exit_codes: vec![75] };
        let served = serde_json::to_value(&given).expect("JSON");
        assert_eq!(served, json!({ "count": 2, "backoff": "2s", "exit_codes": [75] }));
        assert_eq!(retry(&served), Ok(Some(given)));
    }
}
