//! Who answers: the built-in model, or one that is asked over HTTP.

mod built_in;
mod remote;

use serde_json::Value;
use shared::store::turns::{Answer, ContextMessage};

use crate::audio::Catalogue;
pub use remote::Remote;

/// How deep what a model says may be nested. What is stored is read again as a part of something
/// larger, and JSON of more than 128 levels is not read.
const MAX_DEPTH: usize = 100;

/// A model that answers a user's message.
#[derive(Debug)]
pub enum Model {
    /// For trying the product out: no key, no network.
    BuiltIn(Catalogue),
    /// A language model of a provider.
    Remote(Box<Remote>),
}

/// The longest answer that is stored, in bytes of UTF-8, and the longest list of its function calls or
/// recordings, in bytes of JSON. However they are escaped, one answer then fits into one reply of
/// Lambda's, which is 6 MB.
const MAX_STORED_BYTES: usize = 256 * 1024;

/// The longest name of a model that is stored, in characters. Providers may answer with any.
const MAX_NAME_CHARACTERS: usize = 200;

/// What stands at the end of a text that was cut off.
const CUT_OFF: &str = "…";

/// Why a model did not answer. Says nothing of what was said.
#[derive(Debug, thiserror::Error)]
#[error("{description}")]
pub struct ModelFailure {
    description: String,
    is_context_exceeded: bool,
}

impl ModelFailure {
    fn new(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            is_context_exceeded: false,
        }
    }

    /// Whether the provider says that question and context are too long for the model. Asking again
    /// does not help; asking with less does.
    #[must_use]
    pub fn is_context_exceeded(&self) -> bool {
        self.is_context_exceeded
    }
}

impl Model {
    /// The name of the built-in model, as `MODEL` and answers have it.
    pub const BUILT_IN: &'static str = "built-in";

    /// The built-in model with the recordings it recommends.
    #[must_use]
    pub fn built_in(catalogue: Catalogue) -> Self {
        Self::BuiltIn(catalogue)
    }

    /// Which model answers and where, for a person who starts the product.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::BuiltIn(_) => {
                format!(
                    "{} (for trying out; set MODEL for a language model)",
                    Self::BUILT_IN
                )
            }
            Self::Remote(remote) => remote.description(),
        }
    }

    /// Answers `question`, which follows `context`.
    ///
    /// # Errors
    /// [`ModelFailure`].
    pub async fn answer(
        &self,
        system_prompt: &str,
        context: &[ContextMessage],
        question: &str,
    ) -> Result<Answer, ModelFailure> {
        let answer = match self {
            Self::BuiltIn(catalogue) => built_in::answer(catalogue, context, question),
            Self::Remote(remote) => remote.answer(system_prompt, context, question).await?,
        };
        Ok(Answer {
            content: cut_off(storable_text(&answer.content)),
            function_calls: those_that_fit(answer.function_calls.into_iter().map(storable)),
            audio_files: those_that_fit(answer.audio_files.into_iter().map(storable)),
            model: storable_text(&answer.model)
                .chars()
                .take(MAX_NAME_CHARACTERS)
                .collect(),
            ..answer
        })
    }
}

/// A text of at most [`MAX_STORED_BYTES`].
fn cut_off(mut text: String) -> String {
    if text.len() > MAX_STORED_BYTES {
        text.truncate(text.floor_char_boundary(MAX_STORED_BYTES - CUT_OFF.len()));
        text.push_str(CUT_OFF);
        tracing::warn!("an answer was cut off that is too long to be stored");
    }
    text
}

/// The first of these values that have [`MAX_STORED_BYTES`] together.
fn those_that_fit(values: impl Iterator<Item = Value>) -> Vec<Value> {
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
        tracing::warn!("function calls or recordings were left out that are too long to be stored");
    }
    fitting
}

/// PostgreSQL cannot store U+0000, and a model's answer is not the caller's to mend.
fn storable_text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn storable(value: Value) -> Value {
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
