//! Who answers: the built-in model, or one that is asked over HTTP.

mod built_in;
mod remote;

use serde_json::Value;
use shared::turns::{Answer, ContextMessage};

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

/// Why a model did not answer. Says nothing of what was said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ModelFailure(String);

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
            content: storable_text(&answer.content),
            function_calls: answer.function_calls.into_iter().map(storable).collect(),
            audio_files: answer.audio_files.into_iter().map(storable).collect(),
            model: storable_text(&answer.model),
            ..answer
        })
    }
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
    fn what_is_nested_too_deep_to_be_read_again_is_cut_off() {
        let deep = (0..126).fold(json!(1), |inner, _| json!([inner]));
        let stored = json!([[storable(deep)]]).to_string();
        assert!(stored.contains('…'));
        assert!(serde_json::from_str::<Value>(&stored).is_ok());
    }
}
