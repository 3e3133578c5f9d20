//! Why a model did not answer, and how much of the reason may be logged.

use std::time::{Duration, SystemTime};

use genai::webc::StreamTimeout;
use genai::{BoxError, Error, webc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use shared::causes::causes;

/// The statuses with which providers reject input that is too long.
const TOO_LONG_STATUSES: [u16; 3] = [400, 413, 422];

/// The statuses of failures that may pass; those of the server itself, from 500 on, may as well.
const PASSING_STATUSES: [u16; 4] = [408, 409, 425, 429];

/// The words for them that providers use once they have begun to answer.
const PASSING_CODES: [&str; 12] = [
    "api_error",
    "internalServerException",
    "internal_server_error",
    "modelStreamErrorException",
    "overloaded_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    "server_error",
    "serviceUnavailableException",
    "throttlingException",
    "timeout_error",
    "UNAVAILABLE",
];

/// The words that providers use in place of such a status once they have begun to answer.
const TOO_LONG_CODES: [&str; 4] = [
    "BadRequestError",
    "context_length_exceeded",
    "invalid_request_error",
    "request_too_large",
];

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
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ContextExceeded,
    Timeout,
    /// May pass after at least this time.
    Passing(Duration),
    Other,
}

impl ModelFailure {
    /// A failure with a description that may be logged.
    pub fn new(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            kind: Kind::Other,
        }
    }

    /// The provider gave nothing for as long as it may.
    pub fn silence() -> Self {
        Self {
            kind: Kind::Timeout,
            ..Self::new("the provider gave nothing for too long")
        }
    }

    /// The provider closed the connection without saying that the answer is complete.
    pub fn ended_early() -> Self {
        Self::new("the provider ended the stream before the answer").passing(Duration::ZERO)
    }

    /// Whether the provider reports that question and context are too long for the model. Retrying
    /// does not help; sending less does.
    #[must_use]
    pub fn is_context_exceeded(&self) -> bool {
        self.kind == Kind::ContextExceeded
    }

    /// Whether a streamed model never began, or stopped in the middle of its answer: nothing came
    /// for as long as it may be silent.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// How long to wait at least before the model is asked again; `None` if that does not help.
    #[must_use]
    pub fn may_pass(&self) -> Option<Duration> {
        match self.kind {
            Kind::Passing(after) => Some(after),
            Kind::ContextExceeded | Kind::Timeout | Kind::Other => None,
        }
    }

    fn passing(self, after: Duration) -> Self {
        Self {
            kind: Kind::Passing(after),
            ..self
        }
    }

    fn context_exceeded_if(self, is_exceeded: bool) -> Self {
        if is_exceeded {
            Self {
                kind: Kind::ContextExceeded,
                ..self
            }
        } else {
            self
        }
    }
}

/// Converts genai's error into one that a turn can act on.
pub fn failure(error: &Error) -> ModelFailure {
    match error {
        Error::WebStream { error, .. } => failure_in_stream(error),
        Error::ChatResponse { body, .. } => reported(body),
        _ => {
            let failure = ModelFailure::new(describe(error));
            match passing(error) {
                Some(after) => failure.passing(after),
                None => failure.context_exceeded_if(is_context_exceeded(error)),
            }
        }
    }
}

/// What went wrong while an answer was streamed, which includes the refusal to begin one.
fn failure_in_stream(error: &BoxError) -> ModelFailure {
    if let Some(error) = error.downcast_ref::<Error>() {
        failure(error)
    } else if error.is::<StreamTimeout>() {
        ModelFailure::silence()
    } else if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        ModelFailure::new(describe_connection(error)).passing(Duration::ZERO)
    } else {
        ModelFailure::new("the provider's stream cannot be read")
    }
}

/// An error that the provider reports after it has begun to answer with success.
fn reported(body: &Value) -> ModelFailure {
    let error = match &body["error"] {
        inner @ Value::Object(_) => inner,
        _ => body,
    };
    let code = error_code(error);
    let is_rejected = match &error["code"] {
        Value::Number(status) => TOO_LONG_STATUSES
            .iter()
            .any(|expected| status.as_u64() == Some(u64::from(*expected))),
        _ => code
            .as_deref()
            .is_some_and(|code| TOO_LONG_CODES.contains(&code)),
    };
    reported_as(code.as_deref(), is_rejected, &body.to_string())
}

/// An error that the provider reports in the middle of an answer. Only if it rejects the request
/// may its words mean that this is too long; elsewhere they are about the caller's rate.
pub fn reported_as(code: Option<&str>, is_rejected: bool, words: &str) -> ModelFailure {
    let what = "the provider reported an error while it answered";
    let failure = ModelFailure::new(match code.filter(|code| is_word(code)) {
        Some(code) => format!("{what} ({code})"),
        None => what.to_owned(),
    });
    if code.is_some_and(|code| PASSING_CODES.contains(&code)) {
        return failure.passing(Duration::ZERO);
    }
    failure.context_exceeded_if(is_rejected && says_too_long(words))
}

/// How long to wait at least before a request is sent again that failed with an error; `None` if that does
/// not help.
fn passing(error: &Error) -> Option<Duration> {
    if let Some(status) = error.status() {
        let is_passing = status.is_server_error() || PASSING_STATUSES.contains(&status.as_u16());
        return is_passing.then(|| error.headers().map(retry_after).unwrap_or_default());
    }
    match error {
        Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => {
            matches!(webc_error, webc::Error::Reqwest(_)).then_some(Duration::ZERO)
        }
        _ => None,
    }
}

/// How long the provider wants not to be asked.
fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(milliseconds) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Duration::from_millis(milliseconds);
    }
    let Some(after) = text(RETRY_AFTER.as_str()) else {
        return Duration::ZERO;
    };
    if let Ok(seconds) = after.parse::<u32>() {
        return Duration::from_secs(seconds.into());
    }
    let date = httpdate::parse_http_date(after).ok();
    date.and_then(|date| date.duration_since(SystemTime::now()).ok())
        .unwrap_or_default()
}

fn is_context_exceeded(error: &Error) -> bool {
    refusal(error).is_some_and(|(status, body)| {
        TOO_LONG_STATUSES.contains(&status.as_u16()) && says_too_long(body)
    })
}

fn says_too_long(text: &str) -> bool {
    let text = text.to_lowercase();
    TOO_LONG_WORDS.iter().any(|words| text.contains(words))
}

/// The status and the body with which the provider refused.
fn refusal(error: &Error) -> Option<(StatusCode, &str)> {
    match error {
        Error::WebModelCall {
            webc_error: webc::Error::ResponseFailedStatus { status, body, .. },
            ..
        }
        | Error::WebAdapterCall {
            webc_error: webc::Error::ResponseFailedStatus { status, body, .. },
            ..
        }
        | Error::HttpError { status, body, .. } => Some((*status, body)),
        _ => None,
    }
}

/// The part of a failure that may be logged. genai's own messages contain the request and the
/// answer.
pub fn describe(error: &Error) -> String {
    if let Some((status, body)) = refusal(error) {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        return match error_code(&body["error"]) {
            Some(code) => format!("the provider answered {status} ({code})"),
            None => format!("the provider answered {status}"),
        };
    }
    match error {
        Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => {
            match webc_error {
                webc::Error::Reqwest(error) => describe_connection(error),
                _ => "the answer is not JSON".into(),
            }
        }
        Error::RequiresApiKey { .. } | Error::NoAuthData { .. } | Error::NoAuthResolver { .. } => {
            "the provider's key is missing".into()
        }
        Error::Resolver { .. } => "the provider's key or address cannot be resolved".into(),
        Error::ChatResponseGeneration { .. } | Error::StreamParse { .. } => {
            "the answer cannot be parsed".into()
        }
        _ => "the request could not be sent or its answer could not be read".into(),
    }
}

/// What went wrong with the connection, without the address, which may contain a key.
pub fn describe_connection(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "the provider timed out".into()
    } else if error.is_body() || error.is_decode() {
        format!("the provider's answer broke off: {}", causes(error))
    } else {
        format!("the provider cannot be reached: {}", causes(error))
    }
}

/// The provider's error code (`model_not_found`), if it is a single word; the message beside it may
/// quote the conversation.
fn error_code(error: &Value) -> Option<String> {
    let code = ["code", "type"]
        .iter()
        .find_map(|name| error[*name].as_str())?;
    is_word(code).then(|| code.to_owned())
}

fn is_word(code: &str) -> bool {
    !code.is_empty()
        && code.len() <= 60
        && code
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use genai::ModelIden;
    use genai::adapter::AdapterKind;
    use serde_json::json;

    #[test]
    fn an_error_in_the_middle_of_an_answer_is_described_by_its_code_alone() {
        let cases = [
            (
                json!({ "type": "server_error", "message": "canary" }),
                "(server_error)",
                false,
            ),
            (
                json!({ "type": "error", "error": { "type": "overloaded_error", "message": "canary" } }),
                "(overloaded_error)",
                false,
            ),
            (
                json!({ "code": "canary quoted", "message": "canary" }),
                "",
                false,
            ),
            (json!("canary"), "", false),
            (
                json!({ "code": 400, "message": "This model's maximum context length is canary" }),
                "",
                true,
            ),
            (
                json!({ "code": "context_length_exceeded", "message": "canary" }),
                "(context_length_exceeded)",
                true,
            ),
            (
                json!({ "type": "error", "error": {
                    "type": "invalid_request_error", "message": "prompt is too long: canary",
                } }),
                "(invalid_request_error)",
                true,
            ),
            (
                json!({ "code": 429, "message": "too many tokens: canary" }),
                "",
                false,
            ),
            (
                json!({ "type": "rate_limit_error", "message": "too many tokens: canary" }),
                "(rate_limit_error)",
                false,
            ),
        ];
        for (body, code, is_context_exceeded) in cases {
            let failure = failure(&Error::ChatResponse {
                model_iden: ModelIden::new(AdapterKind::OpenAI, "m"),
                body: body.clone(),
            });
            let description = failure.to_string();
            assert!(description.contains(code), "{body}: {description}");
            assert!(!description.contains("canary"), "{body}: {description}");
            assert_eq!(failure.is_context_exceeded(), is_context_exceeded, "{body}");
            assert!(!failure.is_timeout());
        }
    }
}
