//! Why the schema was not brought up to date.

use std::time::Duration;

use lambda_runtime::Diagnostic;
use shared::database::DatabaseError;
use shared::settings::SettingsError;

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No database is configured.
    #[error("{0}")]
    Config(#[from] SettingsError),
    /// It took longer than the invocation's timeout.
    #[error("the migration did not finish within {} s; give the function more time", .0.as_secs())]
    TookTooLong(Duration),
    /// The event asks for something else.
    #[error("unknown action; use {{\"action\": \"migrate\"}} or {{\"action\": \"status\"}}")]
    UnknownAction,
    /// The event looks like one of CloudFormation's, but is not valid.
    #[error("the custom-resource event cannot be read: {0}")]
    InvalidEvent(&'static str),
    /// The result could not be sent to CloudFormation.
    #[error("the result could not be sent to CloudFormation: {0}")]
    Notification(String),
    /// The result cannot be written.
    #[error("the result cannot be written as JSON: {0}")]
    Report(#[source] serde_json::Error),
    /// The database cannot be used, or another migrator holds the lock for too long.
    #[error("the database cannot be migrated: {0}")]
    Database(#[from] DatabaseError),
    /// A transaction pooler is in front of the database.
    #[error(
        "the connection goes through a pooler in transaction mode, which cannot hold the migration's \
         lock; set MIGRATE_DATABASE_URL to the address of the database itself"
    )]
    Pooled,
    /// Another migrator is running and does not finish.
    #[error("another migration has been running for {} s; retry when it has finished", .0.as_secs())]
    Locked(Duration),
    /// An applied migration differs from the one that is compiled in.
    #[error(
        "{0} was changed after it was applied; restore the file and add a new migration instead"
    )]
    Changed(String),
    /// The database knows a migration that is not compiled in.
    #[error(
        "the database has {0}, which this version does not know; deploy the version that has it"
    )]
    Unknown(String),
    /// A migration was added below the version the database has reached.
    #[error("{0} was never applied but later ones were; give it a higher version")]
    OutOfOrder(String),
    /// The database has the Python server's tables, and the command is not for taking them over.
    #[error(
        "these are the tables of the Python server; stop it and run `cargo run -- migrate`, which takes \
         them over (docs/moving-in.md)"
    )]
    LegacyTables,
    /// The Python server's tables name users, and it is not configured what vouches for them here.
    #[error(
        "the tables of the Python server name users; set LEGACY_OWNER_KIND to what vouches for them \
         here: jwt, lambda, cognito-identity or iam (docs/moving-in.md)"
    )]
    LegacyOwnerKind,
    /// The Python server's tables cannot be taken over as they are. Nothing has changed.
    #[error("the tables of the Python server cannot be taken over: {0}; nothing has changed")]
    Legacy(String),
    /// There are no tables of the Python server to drop.
    #[error(
        "there is no schema daissy_legacy with tables that were taken over; nothing was dropped"
    )]
    NothingToDrop,
    /// A migration failed and left no changes behind.
    #[error("{step}: {cause}")]
    Failed {
        /// The step that failed.
        step: String,
        /// The database's error.
        cause: String,
    },
}

impl From<MigrateError> for Diagnostic {
    fn from(error: MigrateError) -> Self {
        Self {
            error_type: "MigrateError".into(),
            error_message: error.to_string(),
        }
    }
}
