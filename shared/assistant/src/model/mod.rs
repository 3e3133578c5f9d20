//! The model that answers: the built-in one, or one that is asked over HTTP.

mod bedrock;
mod built_in;
mod failure;
mod provider;
mod remote;
mod storable;

use serde_json::Value;
use shared::store::turns::{Answer, ContextMessage};

pub use self::failure::ModelFailure;
pub use self::remote::Remote;
use self::storable::{cut_off, storable, storable_text, those_that_fit};
use crate::recordings::Catalogue;

/// The longest model name that is stored, in characters. Providers may return any name.
const MAX_NAME_CHARACTERS: usize = 200;

/// What a model gives while it answers, in order.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Text.
    Text(&'a str),
    /// A call.
    FunctionCall(&'a Value),
}
/// Takes pieces.
pub type Sink<'a> = &'a mut (dyn FnMut(Piece<'_>) + Send);
/// How an answer is delivered.
pub enum Delivery<'a> {
    /// Whole.
    Whole,
    /// Streamed.
    Streamed {
        /// Sink.
        sink: Sink<'a>,
        /// Silence.
        silence: std::time::Duration,
    },
}

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

    /// Name.
    pub fn name(&self) -> &str {
        Self::BUILT_IN
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

    /// Answers `question`, which follows `context`, and gives the text to `sink` as it will be
    /// stored: the built-in model word by word, a remote one in one piece, because it is not
    /// streamed yet. A model that fails gives nothing.
    ///
    /// # Errors
    /// [`ModelFailure`].
    pub async fn answer(
        &self,
        system_prompt: &str,
        context: &[ContextMessage],
        question: &str,
        delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let answer = match self {
            Self::BuiltIn(catalogue) => built_in::answer(catalogue, context, question),
            Self::Remote(remote) => remote.answer(system_prompt, context, question).await?,
        };
        let content = cut_off(storable_text(&answer.content));
        if let Delivery::Streamed { sink, .. } = delivery {
            for call in &answer.function_calls {
                sink(Piece::FunctionCall(call));
            }
            for word in built_in::words(&content) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                sink(Piece::Text(word));
            }
        }
        Ok(Answer {
            content,
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
