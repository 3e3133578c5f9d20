//! Makes a model's output fit to be stored: no longer and no deeper than can be returned, and
//! without the character that PostgreSQL does not accept.

use serde_json::Value;

/// How deeply a model's output may be nested. It is later read as part of a larger document, and
/// JSON with more than 128 levels cannot be read.
const MAX_DEPTH: usize = 100;

/// The longest answer that is stored, in bytes of UTF-8, and the longest list of its function calls
/// or recordings, in bytes of JSON. However they are escaped, one answer then fits into one Lambda
/// response, which is limited to 6 MB.
pub const MAX_STORED_BYTES: usize = 256 * 1024;

/// The end of a text that was cut off.
const CUT_OFF: &str = "…";

/// A text that grows to at most [`MAX_STORED_BYTES`], and is then cut off.
#[derive(Debug, Default)]
pub struct GrowingText {
    text: String,
    /// How much of it is certain to be stored. The rest, at most as long as [`CUT_OFF`], is replaced
    /// by it if more comes than fits.
    certain_bytes: usize,
    is_cut_off: bool,
}

impl GrowingText {
    /// Appends a text, and returns what has become certain by it.
    pub fn push(&mut self, text: &str) -> &str {
        if self.is_cut_off {
            return "";
        }
        self.text.push_str(&storable_text(text));
        let cut = self
            .text
            .floor_char_boundary(MAX_STORED_BYTES - CUT_OFF.len());
        if self.text.len() <= MAX_STORED_BYTES {
            return self.certain_up_to(cut);
        }
        self.text.truncate(cut);
        self.text.push_str(CUT_OFF);
        self.is_cut_off = true;
        tracing::warn!("an answer was too long to store and was cut off");
        self.rest()
    }

    /// What was not certain yet. Nothing may be appended after it.
    pub fn rest(&mut self) -> &str {
        self.certain_up_to(self.text.len())
    }

    fn certain_up_to(&mut self, end: usize) -> &str {
        let start = std::mem::replace(&mut self.certain_bytes, end);
        &self.text[start..end]
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The whole text.
    pub fn into_string(self) -> String {
        self.text
    }
}

/// A list that takes at most [`MAX_STORED_BYTES`] as JSON: the first value that does not fit ends
/// it.
#[derive(Debug, Default)]
pub struct Fitting {
    values: Vec<Value>,
    /// What all values take together, also those that did not fit.
    bytes: usize,
}

impl Fitting {
    /// Appends a value, and returns it if it fits.
    pub fn push(&mut self, value: Value) -> Option<&Value> {
        let was_full = self.bytes > MAX_STORED_BYTES;
        self.bytes += value.to_string().len();
        if self.bytes > MAX_STORED_BYTES {
            if !was_full {
                tracing::warn!(
                    "function calls or recordings were too long to store and were left out"
                );
            }
            return None;
        }
        self.values.push(value);
        self.values.last()
    }

    /// The values that fit.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}

/// The first of these values that take at most [`MAX_STORED_BYTES`] together.
pub fn those_that_fit(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut fitting = Fitting::default();
    for value in values {
        fitting.push(value);
    }
    fitting.into_values()
}

/// PostgreSQL cannot store U+0000, and the caller cannot fix a model's answer.
pub fn storable_text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same value in a form that PostgreSQL can store and any client can read again.
pub fn storable(value: Value) -> Value {
    storable_at(value, 0)
}

fn storable_at(value: Value, depth: usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => Value::String("…".into()),
        Value::String(text) => Value::String(storable_text(&text)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| storable_at(item, depth + 1))
            .collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, item)| (storable_text(&key), storable_at(item, depth + 1)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_stored_is_replaced_however_deep_it_is() {
        let value = json!({ "a\0": ["\0", { "b": "x\0y", "c": 1 }], "d": null });
        let expected =
            json!({ "a\u{fffd}": ["\u{fffd}", { "b": "x\u{fffd}y", "c": 1 }], "d": null });
        assert_eq!(storable(value), expected);
    }

    #[test]
    fn an_answer_that_is_too_long_to_be_carried_is_cut_off() {
        let grown = |text: &str| {
            let mut growing = GrowingText::default();
            growing.push(text);
            growing.into_string()
        };
        let long = "\u{1}ü\"".repeat(100_000);
        let cut = grown(&long);
        assert!(cut.len() <= MAX_STORED_BYTES && cut.len() > MAX_STORED_BYTES - 10);
        assert!(long.starts_with(cut.trim_end_matches(CUT_OFF)) && cut.ends_with(CUT_OFF));
        assert_eq!(grown("short"), "short");

        let calls = (0..2000).map(|number| json!({ "name": "f".repeat(1000), "number": number }));
        let stored = those_that_fit(calls);
        assert!((200..260).contains(&stored.len()), "{}", stored.len());
        assert_eq!(stored[199]["number"], 199);
    }

    #[test]
    fn what_is_nested_too_deep_to_be_read_again_is_cut_off() {
        let deep = (0..126).fold(json!(1), |inner, _| json!([inner]));
        let stored = json!([[storable(deep)]]).to_string();
        assert!(stored.contains('…'));
        assert!(serde_json::from_str::<Value>(&stored).is_ok());
    }
}
