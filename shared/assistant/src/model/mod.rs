//! The model that answers: the built-in one, or one that is asked over HTTP.

mod bedrock;
mod built_in;
mod delivery;
mod draft;
mod failure;
mod provider;
mod remote;
mod storable;

use shared::store::turns::{Answer, ContextMessage};

pub use self::delivery::{Delivery, Piece, Sink};
pub use self::failure::ModelFailure;
pub use self::remote::Remote;
use self::storable::{storable, storable_text, those_that_fit};
use crate::recordings::Catalogue;

/// The longest model name that is stored, in characters. Providers may return any name.
const MAX_NAME_CHARACTERS: usize = 200;

/// A model that answers a user's message.
#[derive(Debug)]
pub enum Model {
    /// For trying the product out: no key, no network.
    BuiltIn(Catalogue),
    /// A language model of a provider.
    Remote(Box<Remote>),
}

impl Model {
    /// The name of the built-in model, as used in `MODEL` and in answers.
    pub const BUILT_IN: &str = built_in::NAME;

    /// The built-in model with the recordings it recommends.
    #[must_use]
    pub fn built_in(catalogue: Catalogue) -> Self {
        Self::BuiltIn(catalogue)
    }

    /// The model and its address, for the person who starts the product.
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

    /// The model's name, which answers have if the provider says no other.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(_) => Self::BUILT_IN,
            Self::Remote(remote) => remote.name(),
        }
    }

    /// The definitions of the functions that it is offered, as they are sent to it; empty without any.
    #[must_use]
    pub fn definitions(&self) -> String {
        match self {
            Self::BuiltIn(_) => String::new(),
            Self::Remote(remote) => remote.definitions(),
        }
    }

    /// Answers `question`, which follows `context`. What a streamed answer has given to its sink is
    /// what it is stored with: its texts joined are its content, and its function calls are the same.
    /// Dropping the future ends the request to the provider.
    ///
    /// # Errors
    /// [`ModelFailure`]. Of a streamed answer, pieces may have been given before it.
    pub async fn answer(
        &self,
        system_prompt: &str,
        context: &[ContextMessage],
        question: &str,
        delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let answer = match self {
            Self::BuiltIn(catalogue) => {
                let answer = built_in::answer(catalogue, context, question);
                built_in::deliver(answer, delivery).await
            }
            Self::Remote(remote) => {
                let answer = remote.answer(system_prompt, context, question, delivery);
                answer.await?
            }
        };
        Ok(Answer {
            audio_files: those_that_fit(answer.audio_files.into_iter().map(storable)),
            model: storable_text(&answer.model)
                .chars()
                .take(MAX_NAME_CHARACTERS)
                .collect(),
            ..answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn the_built_in_model_streams_its_calls_and_then_its_text_word_by_word() {
        let model = Model::built_in(Catalogue::sample());
        let (mut calls, mut texts): (_, Vec<String>) = (Vec::new(), Vec::new());
        let mut sink = |piece: Piece<'_>| match piece {
            Piece::Text(text) => texts.push(text.to_owned()),
            Piece::FunctionCall(call) => {
                assert!(texts.is_empty(), "calls come first");
                calls.push(call.clone());
            }
        };
        let delivery = Delivery::Streamed {
            sink: &mut sink,
            silence: Duration::from_secs(1),
        };
        let question = "one\0  recording\n\u{3000}three";
        let started = Instant::now();
        let streamed = model.answer("", &[], question, delivery).await.unwrap();
        assert!(started.elapsed() > Duration::from_millis(20) * 20);
        assert_eq!(texts.concat(), streamed.content);
        assert_eq!(texts[..3], ["I ", "am ", "Daissy's "]);
        assert!(
            streamed
                .content
                .contains("one\u{fffd}  recording\n\u{3000}three")
        );
        assert_eq!(calls, streamed.function_calls);
        assert_eq!(calls.len(), 1);

        let started = Instant::now();
        let whole = model
            .answer("", &[], question, Delivery::Whole)
            .await
            .unwrap();
        assert!(started.elapsed() < Duration::from_millis(20));
        assert_eq!(whole.content, streamed.content);
        assert_eq!(whole.function_calls, streamed.function_calls);
        assert_eq!(whole.model, model.name());
    }
}
