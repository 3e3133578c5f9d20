//! Everything that can go wrong in a request, distinguished by what the caller should do next.

use std::error::Error;
use std::time::Duration;

use lambda_http::http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::database::{DatabaseError, DatabaseErrorKind};
use crate::jwt::IssuerError;

/// How long a caller is told to wait when the database could not be reached.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a caller is told to wait when the issuer of its token could not be reached.
const ISSUER_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long a caller is told to wait while another turn is in progress; a turn takes a few seconds.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(2);

/// A request that failed. `Display` is for the caller, `source` is for the log alone.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The body is not a JSON object.
    #[error("{0}")]
    InvalidJson(String),
    /// A field or parameter is missing, blank, too long, of the wrong type or not a UUID.
    #[error("{0}")]
    InvalidRequest(String),
    /// A cursor that this API did not issue for this session.
    #[error(
        "`{0}` is not a cursor that was given out for this; use the one of an earlier page unchanged"
    )]
    InvalidCursor(&'static str),
    /// An authorizer is configured, but nothing that it passed on identifies a caller.
    #[error("The credentials do not identify a caller; sign in again")]
    Unauthorized,
    /// A token could not be checked, because its issuer's keys are not known.
    #[error("The token cannot be checked, because its issuer cannot be reached; retry later")]
    IssuerUnavailable(#[source] IssuerError),
    /// The caller may not do this. Says what to do.
    #[error("{0}")]
    Forbidden(String),
    /// No such session, or not this caller's: the two are indistinguishable.
    #[error("There is no session {0}; leave out session_id to open a new one")]
    SessionNotFound(Uuid),
    /// No such message in the session.
    #[error("There is no message {0} in this session")]
    MessageNotFound(Uuid),
    /// The route exists, but not for this method. Holds the methods it accepts.
    #[error("This route only accepts {}", .0.join(" and "))]
    MethodNotAllowed(Vec<&'static str>),
    /// No route has this path.
    #[error("There is no route for this path")]
    RouteNotFound,
    /// Another turn of the session is in progress.
    #[error("A turn of this session is in progress; retry when it has finished")]
    SessionBusy,
    /// The function that streamed a turn has died, or the turn ended without an answer.
    #[error("The turn ended without an answer; the message is kept, retry with its message_id")]
    TurnInterrupted,
    /// The session was reset.
    #[error("This session was reset; load it to reopen it")]
    SessionInactive,
    /// The message id was already used for another query.
    #[error("message_id was already used in this session with another query; choose a new one")]
    MessageIdReused,
    /// The body is longer than the limit, in bytes.
    #[error("The body is longer than {0} bytes")]
    PayloadTooLarge(usize),
    /// The body is declared as something other than JSON.
    #[error("Send the body as JSON, with content-type: application/json")]
    UnsupportedMediaType,
    /// A setting is missing or invalid; the log names it.
    #[error("This service is not configured; the function's log names the setting")]
    NotConfigured,
    /// An internal error.
    #[error("Something went wrong on our side; the cause is in the log under this request_id")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
    /// The model failed.
    #[error("The model could not answer; the message is kept, retry with its message_id")]
    ModelError(#[source] Box<dyn Error + Send + Sync>),
    /// The model took too long.
    #[error(
        "The model took longer than {} s; the message is kept, retry with its message_id",
        .0.as_secs()
    )]
    ModelTimeout(Duration),
    /// The provider reports that question and context are too long for the model.
    #[error(
        "The question is too long for the model; the message is kept, ask again in fewer words"
    )]
    ModelContextExceeded(#[source] Box<dyn Error + Send + Sync>),
    /// The database cannot be reached or is out of resources.
    #[error("The database cannot be reached at the moment; retry later")]
    DatabaseUnavailable(#[source] DatabaseError),
    /// A statement exceeded its timeout.
    #[error("The database took too long for this call; nothing else is known to be wrong with it")]
    DatabaseTimeout(#[source] DatabaseError),
    /// A table or column is missing.
    #[error("The database has not been migrated to this version; run migrate")]
    SchemaMissing(#[source] DatabaseError),
    /// The database user lacks rights; holds them as `RIGHT on object`.
    #[error("The database user lacks {missing}; grant it to the role the functions connect as")]
    DatabasePermission {
        /// The missing rights, each as `RIGHT on object`.
        missing: String,
        /// The server's error.
        #[source]
        source: DatabaseError,
    },
    /// A turn that failed after its message was, or may have been, stored: the same problem with
    /// the ids that make the call safe to retry.
    #[error(transparent)]
    InTurn(Box<FailedTurn>),
}

/// A problem and the turn in which it occurred.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct FailedTurn {
    /// The session of the turn.
    pub session_id: Uuid,
    /// The user's message.
    pub message_id: Uuid,
    /// What went wrong.
    #[source]
    pub problem: Problem,
}

impl Problem {
    /// The same problem with the ids of its turn, so that the caller can retry it.
    #[must_use]
    pub fn in_turn(self, session_id: Uuid, message_id: Uuid) -> Self {
        Self::InTurn(Box::new(FailedTurn {
            session_id,
            message_id,
            problem: self,
        }))
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// Whether the fault is ours or a dependency's, and not the caller's.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status().is_server_error()
    }

    /// The stable code by which a program identifies the problem.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().1
    }

    /// How long the caller should wait before retrying, if that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.root() {
            Self::SessionBusy => Some(BUSY_RETRY_AFTER),
            Self::DatabaseUnavailable(_) => Some(DATABASE_RETRY_AFTER),
            Self::IssuerUnavailable(_) => Some(ISSUER_RETRY_AFTER),
            _ => None,
        }
    }

    /// The session of the turn that failed.
    #[must_use]
    pub fn session_id(&self) -> Option<Uuid> {
        match self {
            Self::InTurn(turn) => Some(turn.session_id),
            _ => None,
        }
    }

    /// Whether the request may have stored its data although it failed.
    #[must_use]
    pub fn may_have_been_stored(&self) -> bool {
        match self.root() {
            Self::DatabaseUnavailable(error) => error.may_have_run(),
            problem => problem.is_failure(),
        }
    }

    /// The methods the route accepts, if the caller used another; `GET` includes `HEAD`.
    #[must_use]
    pub fn allowed_methods(&self) -> Option<String> {
        let Self::MethodNotAllowed(methods) = self else {
            return None;
        };
        Some(methods.join(", ").replace("GET", "GET, HEAD"))
    }

    /// The problem document (RFC 9457) of this problem.
    #[must_use]
    pub fn document(&self, request_id: &str) -> Value {
        let (status, code) = self.kind();
        let mut document = Map::new();
        document.insert("type".into(), json!("about:blank"));
        document.insert(
            "title".into(),
            json!(status.canonical_reason().unwrap_or(code)),
        );
        document.insert("status".into(), json!(status.as_u16()));
        document.insert("detail".into(), json!(self.to_string()));
        document.insert("code".into(), json!(code));
        document.insert("request_id".into(), json!(request_id));
        if let Self::InTurn(turn) = self {
            document.insert("session_id".into(), json!(turn.session_id));
            document.insert("message_id".into(), json!(turn.message_id));
        }
        Value::Object(document)
    }

    /// The problem without the turn around it.
    #[must_use]
    pub fn root(&self) -> &Self {
        match self {
            Self::InTurn(turn) => turn.problem.root(),
            problem => problem,
        }
    }

    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidJson(_) => (StatusCode::BAD_REQUEST, "invalid_json"),
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidCursor(_) => (StatusCode::BAD_REQUEST, "invalid_cursor"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::IssuerUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "issuer_unavailable"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::SessionNotFound(_) => (StatusCode::NOT_FOUND, "session_not_found"),
            Self::MessageNotFound(_) => (StatusCode::NOT_FOUND, "message_not_found"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found"),
            Self::SessionBusy => (StatusCode::CONFLICT, "session_busy"),
            Self::TurnInterrupted => (StatusCode::CONFLICT, "turn_interrupted"),
            Self::SessionInactive => (StatusCode::CONFLICT, "session_inactive"),
            Self::MessageIdReused => (StatusCode::CONFLICT, "message_id_reused"),
            Self::PayloadTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::NotConfigured => (StatusCode::INTERNAL_SERVER_ERROR, "not_configured"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            Self::ModelError(_) => (StatusCode::BAD_GATEWAY, "model_error"),
            Self::ModelContextExceeded(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "model_context_exceeded")
            }
            Self::ModelTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "model_timeout"),
            Self::DatabaseUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable")
            }
            Self::DatabaseTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "database_timeout"),
            Self::SchemaMissing(_) => (StatusCode::SERVICE_UNAVAILABLE, "schema_missing"),
            Self::DatabasePermission { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "database_permission")
            }
            Self::InTurn(turn) => turn.problem.kind(),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error.kind() {
            DatabaseErrorKind::Unavailable => Self::DatabaseUnavailable(error),
            DatabaseErrorKind::Timeout => Self::DatabaseTimeout(error),
            DatabaseErrorKind::SchemaMissing => Self::SchemaMissing(error),
            DatabaseErrorKind::Permission(missing) => Self::DatabasePermission {
                missing: missing.clone(),
                source: error,
            },
            DatabaseErrorKind::Other => Self::Internal(Box::new(error)),
        }
    }
}
