//! Why a request of the conversation brought no answer.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

/// The code of a turn whose function died: it is to be asked again, with the same id.
const TURN_INTERRUPTED: &str = "turn_interrupted";

/// The code of a session that this caller has not.
const SESSION_NOT_FOUND: &str = "session_not_found";

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// A sentence for the person who asked.
    pub(super) detail: String,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    code: Option<String>,
    /// Whether the same request may succeed a little later.
    pub(super) is_temporary: bool,
}

/// A problem document, as far as a client needs it. Gateways write `message` instead of `detail`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Document {
    #[serde(alias = "message")]
    detail: Option<String>,
    code: Option<String>,
}

impl Failure {
    /// The server was not reached, or the connection broke.
    pub(super) fn unreachable(error: &reqwest::Error) -> Self {
        let mut cause: &dyn Error = error;
        // What is around the innermost cause says which layer of the client failed.
        while let Some(source) = cause.source() {
            cause = source;
        }
        let host = error.url().and_then(Url::host_str).unwrap_or_default();
        Self {
            is_temporary: true,
            ..Self::saying(format!("{host} cannot be reached: {cause}"))
        }
    }

    /// An answer that is an error, with this body.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        let retry_after = headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        // An error without a code is not the API's own, but of something on the way to it.
        let is_of_gateway = document.code.is_none()
            && matches!(
                status,
                StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
        Self {
            detail: match document.detail {
                Some(detail) => detail,
                None => format!("The server answered {status}; is its address right?"),
            },
            retry_after: retry_after.map(Duration::from_secs),
            is_temporary: retry_after.is_some()
                || is_of_gateway
                || status == StatusCode::TOO_MANY_REQUESTS,
            code: document.code,
        }
    }

    /// An answer that is not what the API answers.
    pub(super) fn unexpected() -> Self {
        Self::saying("The server's answer is not one of this API")
    }

    /// A stream that ended before its turn did.
    pub(super) fn broken() -> Self {
        Self::saying("The connection broke in the middle of the answer")
    }

    fn saying(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            retry_after: None,
            code: None,
            is_temporary: false,
        }
    }

    /// Whether the turn is to be asked again.
    pub(super) fn is_interrupted(&self) -> bool {
        self.code.as_deref() == Some(TURN_INTERRUPTED)
    }

    /// Whether there is no such session.
    pub(super) fn is_session_not_found(&self) -> bool {
        self.code.as_deref() == Some(SESSION_NOT_FOUND)
    }
}

impl From<Document> for Failure {
    /// The last event of a turn that has no answer.
    fn from(document: Document) -> Self {
        let detail = document.detail;
        Self {
            code: document.code,
            ..Self::saying(detail.unwrap_or_else(|| "There is no answer".into()))
        }
    }
}
