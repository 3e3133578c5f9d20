//! Makes a model's output fit to be stored: no longer and no deeper than can be returned, and
//! without the character that PostgreSQL does not accept.

use serde_json::Value;

/// How deeply a model's output may be nested. It is later read as part of a larger document, and
/// JSON with more than 128 levels cannot be read.
const MAX_DEPTH: usize = 100;

/// The longest answer that is stored, in bytes of UTF-8, and the longest list of its function calls
/// or recordings, in bytes of JSON. However they are escaped, one answer then fits into one Lambda
/// response, which is limited to 6 MB.
const MAX_STORED_BYTES: usize = 256 * 1024;

/// The end of a text that was cut off.
const CUT_OFF: &str = "…";

/// Cuts a text to at most [`MAX_STORED_BYTES`].
pub fn cut_off(mut text: String) -> String {
    if text.len() > MAX_STORED_BYTES {
        text.truncate(text.floor_char_boundary(MAX_STORED_BYTES - CUT_OFF.len()));
        text.push_str(CUT_OFF);
        tracing::warn!("an answer was too long to store and was cut off");
    }
    text
}

/// The first of these values that take at most [`MAX_STORED_BYTES`] together.
pub fn those_that_fit(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut bytes = 0;
    let mut all = values.peekable();
    let mut fitting = Vec::new();
    while let Some(value) = all.next_if(|value| {
        bytes += value.to_string().len();
        bytes <= MAX_STORED_BYTES
    }) {
        fitting.push(value);
    }
    if all.peek().is_some() {
        tracing::warn!("function calls or recordings were too long to store and were left out");
    }
    fitting
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
        let long = "\u{1}ü\"".repeat(100_000);
        let cut = cut_off(long.clone());
        assert!(cut.len() <= MAX_STORED_BYTES && cut.len() > MAX_STORED_BYTES - 10);
        assert!(long.starts_with(cut.trim_end_matches(CUT_OFF)) && cut.ends_with(CUT_OFF));
        assert_eq!(cut_off("short".into()), "short");

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
