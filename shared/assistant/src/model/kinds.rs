//! The kinds of models: the built-in one, and those that are asked over HTTP.

use std::time::Duration;

use genai::chat::{ChatRequest, ChatResponse};

use super::built_in;
use super::draft::Draft;
use super::failure::ModelFailure;
use super::remote::Remote;

/// A model that answers a user's message.
#[derive(Debug)]
pub enum Model {
    /// For trying the product out: no key, no network.
    BuiltIn,
    /// A language model of a provider.
    Remote(Box<Remote>),
}

impl Model {
    /// The name of the built-in model, as used in `MODEL` and in answers.
    pub const BUILT_IN: &str = built_in::NAME;

    /// The model and its address, for the person who starts the product.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::BuiltIn => {
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
            Self::BuiltIn => Self::BUILT_IN,
            Self::Remote(remote) => remote.name(),
        }
    }

    /// Sends one request. What the model says is in the draft when it returns; if the model may be silent
    /// for only so long, it is streamed into it.
    pub async fn round(
        &self,
        request: ChatRequest,
        silence: Option<Duration>,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        match self {
            Self::BuiltIn => Ok(built_in::round(&request, silence.is_some(), draft).await),
            Self::Remote(remote) => remote.round(request, silence, draft).await,
        }
    }
}
