//! Why a model did not answer, and how much of the reason may be logged.

use genai::{Error, webc};
use serde_json::Value;
use shared::causes::causes;

/// The statuses with which providers reject input that is too long.
const TOO_LONG_STATUSES: [u16; 3] = [400, 413, 422];

/// The providers' words for it. OpenAI has a code; the others say it in a sentence, and so do most
/// servers that speak OpenAI's protocol.
const TOO_LONG_WORDS: [&str; 15] = [
    "context_length_exceeded",
    "request_too_large",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
    "too many tokens",
    "input token count",
    "maximum number of tokens",
    "maximum prompt length",
    "exceeds max length",
    "max_new_tokens",
];

/// Why a model did not answer. Contains nothing of the conversation.
#[derive(Debug, thiserror::Error)]
#[error("{description}")]
pub struct ModelFailure {
    description: String,
    is_context_exceeded: bool,
}

impl ModelFailure {
    /// A failure with a description that may be logged.
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            is_context_exceeded: false,
        }
    }

    /// Timeout.
    pub fn is_timeout(&self) -> bool {
        false
    }

    /// Whether the provider reports that question and context are too long for the model. Retrying
    /// does not help; sending less does.
    #[must_use]
    pub fn is_context_exceeded(&self) -> bool {
        self.is_context_exceeded
    }
}

/// Converts genai's error into one that a turn can act on.
pub fn failure(error: &Error) -> ModelFailure {
    ModelFailure {
        description: describe(error),
        is_context_exceeded: is_context_exceeded(error),
    }
}

fn is_context_exceeded(error: &Error) -> bool {
    let (status, body) = match error {
        Error::WebModelCall {
            webc_error: webc::Error::ResponseFailedStatus { status, body, .. },
            ..
        }
        | Error::WebAdapterCall {
            webc_error: webc::Error::ResponseFailedStatus { status, body, .. },
            ..
        }
        | Error::HttpError { status, body, .. } => (status.as_u16(), body),
        _ => return false,
    };
    let body = body.to_lowercase();
    TOO_LONG_STATUSES.contains(&status) && TOO_LONG_WORDS.iter().any(|words| body.contains(words))
}

/// The part of a failure that may be logged. genai's own messages contain the request and the
/// answer.
pub fn describe(error: &Error) -> String {
    match error {
        Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => {
            describe_call(webc_error)
        }
        Error::HttpError { status, .. } => format!("the provider answered {status}"),
        Error::RequiresApiKey { .. } | Error::NoAuthData { .. } | Error::NoAuthResolver { .. } => {
            "the provider's key is missing".into()
        }
        Error::Resolver { .. } => "the provider's key or address cannot be resolved".into(),
        Error::ChatResponseGeneration { .. } => "the answer cannot be parsed".into(),
        _ => "the request could not be sent or its answer could not be read".into(),
    }
}

fn describe_call(error: &webc::Error) -> String {
    match error {
        webc::Error::ResponseFailedStatus { status, body, .. } => match error_code(body) {
            Some(code) => format!("the provider answered {status} ({code})"),
            None => format!("the provider answered {status}"),
        },
        webc::Error::ResponseFailedNotJson { .. }
        | webc::Error::ResponseFailedInvalidJson { .. }
        | webc::Error::JsonValueExt(_) => "the answer is not JSON".into(),
        webc::Error::Reqwest(error) if error.is_timeout() => "the provider timed out".into(),
        webc::Error::Reqwest(error) => {
            format!("the provider cannot be reached: {}", causes(error))
        }
    }
}

/// The provider's error code (`model_not_found`), if it is a single word; the message beside it may
/// quote the conversation.
fn error_code(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let code = ["code", "type"]
        .iter()
        .find_map(|name| body["error"][*name].as_str())?;
    let is_word = code.len() <= 60
        && code
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    is_word.then(|| code.to_owned())
}
