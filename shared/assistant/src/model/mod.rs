//! The models that answer: the built-in one, or one that is asked over HTTP.

mod bedrock;
mod built_in;
mod delivery;
mod draft;
pub mod failure;
mod models;
pub mod provider;
pub mod remote;
mod storable;

use std::time::Duration;

use genai::chat::{ChatRequest, ChatResponse};

pub use self::delivery::{Delivery, Piece, Sink};
pub use self::draft::Draft;
pub use self::failure::ModelFailure;
pub use self::models::{Attempts, Models};
pub use self::provider::Rank;
pub use self::remote::Remote;
pub use self::storable::{storable, storable_text, those_that_fit};

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
    async fn round(
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
