//! Which model answers and how it is asked, read from the environment once.

use std::env;
use std::time::Duration;

use shared::settings::{self, SettingsError};

use crate::model::{Model, Remote};
use crate::recordings::Catalogue;

const DEFAULT_SYSTEM_PROMPT: &str = "You are DAISSY, an assistant that advises people and \
    recommends audio recordings. Answer in the language of the user, briefly and helpfully. When a \
    recording would help and a function to find one is offered, call it and recommend only what it \
    returned.";

/// Default timeout for the model, in seconds. API Gateway waits for 30 s, and the turn also has to
/// be stored.
const DEFAULT_MODEL_TIMEOUT_SECONDS: u64 = 20;

/// Default timeout for a streamed answer, in seconds: people read along.
const DEFAULT_MODEL_STREAM_TIMEOUT_SECONDS: u64 = 120;

/// How long a streamed turn may give no sign of life by default, in seconds. It gives one every second.
const DEFAULT_STREAM_DEAD_AFTER_SECONDS: u64 = 15;

/// The least that makes sense: two of its signs of life.
const MIN_STREAM_DEAD_AFTER_SECONDS: u64 = 2;

/// How many earlier messages the model gets by default.
const DEFAULT_CONTEXT_MESSAGES: i64 = 20;

/// How many tokens a request to the model has by default at most. Models could take more, but what they read
/// is paid for with each turn.
const DEFAULT_CONTEXT_TOKENS: u32 = 8_000;

/// The settings of the assistant.
#[derive(Debug)]
pub struct AssistantConfig {
    /// The model that answers.
    pub model: Model,
    /// The instructions the model gets before the conversation.
    pub system_prompt: String,
    /// Timeout for the model, including all its function calls. If its answer is streamed, how long it may be
    /// silent.
    pub model_timeout: Duration,
    /// Timeout for a streamed answer.
    pub model_stream_timeout: Duration,
    /// How long a streamed turn may give no sign of life before it counts as dead.
    pub stream_dead_after: Duration,
    /// How many earlier messages the model gets at most.
    pub context_messages: i64,
    /// How many tokens everything that the model is sent may have together.
    pub context_tokens: u32,
}

impl AssistantConfig {
    /// Reads the settings of the environment; see [`Self::read`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| env::var(name).ok()).await
    }

    /// Reads `MODEL`, `MODEL_BASE_URL`, `SYSTEM_PROMPT`, `MODEL_TIMEOUT_SECONDS`,
    /// `MODEL_STREAM_TIMEOUT_SECONDS`, `STREAM_DEAD_AFTER_SECONDS`, `CONTEXT_MESSAGES`, `CONTEXT_TOKENS`, `AUDIO_CATALOGUE`, the variable with the
    /// provider's key and, if that is not set, `MODEL_KEY_SECRET_ARN`: the secret with the key is
    /// fetched here, once.
    ///
    /// Without `MODEL` the built-in model answers. A model that is configured but cannot be used is
    /// an error, never a reason to use another.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn read(variables: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| settings::text(&variables, name);
        let seconds = |name, least, default| {
            let seconds = settings::number(&variables, name, least..=900)?;
            Ok::<_, SettingsError>(Duration::from_secs(seconds.unwrap_or(default)))
        };
        let catalogue = variable("AUDIO_CATALOGUE")
            .map(|path| Catalogue::read(&path))
            .transpose()?;
        let base_url = variable("MODEL_BASE_URL");
        let model = match variable("MODEL") {
            Some(name) if name != Model::BUILT_IN => Model::Remote(Box::new(
                Remote::new(&name, base_url, catalogue, &variable).await?,
            )),
            None if base_url.is_some() => {
                return Err(SettingsError::new(
                    "MODEL_BASE_URL is set but MODEL is not; set MODEL to the model to use there",
                ));
            }
            _ => Model::built_in(catalogue.unwrap_or_else(Catalogue::sample)),
        };
        Ok(Self {
            model,
            system_prompt: variable("SYSTEM_PROMPT")
                .unwrap_or_else(|| DEFAULT_SYSTEM_PROMPT.to_owned()),
            model_timeout: seconds("MODEL_TIMEOUT_SECONDS", 1, DEFAULT_MODEL_TIMEOUT_SECONDS)?,
            model_stream_timeout: seconds(
                "MODEL_STREAM_TIMEOUT_SECONDS",
                1,
                DEFAULT_MODEL_STREAM_TIMEOUT_SECONDS,
            )?,
            stream_dead_after: seconds(
                "STREAM_DEAD_AFTER_SECONDS",
                MIN_STREAM_DEAD_AFTER_SECONDS,
                DEFAULT_STREAM_DEAD_AFTER_SECONDS,
            )?,
            context_messages: settings::number(&variables, "CONTEXT_MESSAGES", 0..=1000)?
                .unwrap_or(DEFAULT_CONTEXT_MESSAGES),
            context_tokens: settings::number(&variables, "CONTEXT_TOKENS", 500..=1_000_000)?
                .unwrap_or(DEFAULT_CONTEXT_TOKENS),
        })
    }
}
