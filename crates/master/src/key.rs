//! Idempotency keys: what makes a repeat of a submission known as one.

use std::str::FromStr;

/// The longest key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 255;

/// A key that a client chose for a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) String);

/// A key that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {MAX_KEY_BYTES} visible ASCII characters, and no spaces")]
pub(crate) struct NoKey;

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let fits = (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Key(text.to_owned())).ok_or(NoKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_visible() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        for text in ["1", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", longest.as_str()] {
            assert_eq!(text.parse(), Ok(Key(text.to_owned())));
        }
        for text in ["", " ", "a b", "\t", "é", "\u{7f}", &"k".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(text.parse::<Key>(), Err(NoKey), "{text:?}");
        }
    }
}
