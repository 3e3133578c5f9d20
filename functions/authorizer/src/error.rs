//! Why somebody was not let through.

use lambda_runtime::Diagnostic;
use shared::jwt::{IssuerError, TokenError};
use shared::settings::SettingsError;

/// Why somebody was not let through. API Gateway reads the message of a failed invocation: it answers 401
/// to exactly `Unauthorized`, and to any other with the fault of a server.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The token is not valid. Holds why, for the log alone.
    #[error("Unauthorized")]
    Unauthorized(&'static str),
    /// Nobody can say whether the token is valid, because the issuer's keys are not known.
    #[error("the token could not be checked: {0}")]
    Unchecked(IssuerError),
    /// The settings are missing or invalid.
    #[error("the function is not configured: {0}")]
    Config(SettingsError),
    /// The event is not of the kind of authorizer that the template sets up.
    #[error("the event is not that of a TOKEN authorizer of a REST API")]
    UnknownEvent,
}

impl Refusal {
    /// Writes the log's only line about it. It never holds the token.
    pub(crate) fn log(&self) {
        match self {
            Self::Unauthorized(why) => tracing::info!(why, "a token was refused"),
            Self::Unchecked(_) | Self::Config(_) | Self::UnknownEvent => {
                tracing::error!(cause = %self, "a caller was turned away unchecked");
            }
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(why) => Self::Unauthorized(why),
            TokenError::Unchecked(error) => Self::Unchecked(error),
        }
    }
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        Self {
            error_type: "Refusal".into(),
            error_message: refusal.to_string(),
        }
    }
}
