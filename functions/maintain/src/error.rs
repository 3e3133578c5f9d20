//! Why a run failed.

use lambda_runtime::Diagnostic;
use shared::database::{DatabaseError, DatabaseErrorKind};
use shared::settings::SettingsError;
use shared::store::search::FillError;

/// Why a run failed. What it did until then is done.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// No database is configured, or a setting is invalid.
    #[error("{0}")]
    Config(#[from] SettingsError),
    /// The event asks for something else.
    #[error(
        "unknown action; use {{\"action\": \"run\"}} or {{\"action\": \"erase\", \"owner\": \"kind:id\"}}"
    )]
    UnknownAction,
    /// The event has an invalid member.
    #[error("{0}")]
    InvalidEvent(&'static str),
    /// The database user may not do it.
    #[error(
        "the database user lacks rights: {0}; run migrate, and set MAINTAIN_DATABASE_URL to connect \
         as daissy_maintain"
    )]
    Rights(String),
    /// The text search configuration is not in the database.
    #[error("{0}")]
    UnknownLanguage(FillError),
    /// The database cannot be used.
    #[error("the database cannot be maintained: {0}")]
    Database(#[source] DatabaseError),
    /// The result cannot be written.
    #[error("the result cannot be written as JSON: {0}")]
    Report(#[source] serde_json::Error),
}

impl From<DatabaseError> for MaintainError {
    fn from(error: DatabaseError) -> Self {
        match error.kind() {
            DatabaseErrorKind::Permission(missing) => Self::Rights(missing.clone()),
            _ => Self::Database(error),
        }
    }
}

impl From<FillError> for MaintainError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Database(error) => error.into(),
            unknown @ FillError::UnknownLanguage => Self::UnknownLanguage(unknown),
        }
    }
}

impl From<MaintainError> for Diagnostic {
    fn from(error: MaintainError) -> Self {
        Self {
            error_type: "MaintainError".into(),
            error_message: error.to_string(),
        }
    }
}
