//! What a database failure means for a request, and how much of it may be logged.

use std::error::Error;
use std::io;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::causes::with_causes;
use crate::settings::SettingsError;

/// What to do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseErrorKind {
    /// Wait and try again: the server cannot be reached, refuses to connect, or is out of room.
    Unavailable,
    /// A statement exceeded its timeout on a connection that is alive.
    Timeout,
    /// Run the migrations: a table, column or function is missing.
    SchemaMissing,
    /// Grant these rights, each as `RIGHT on object`.
    Permission(String),
    /// An error of our own.
    Other,
}

/// A database failure. `Display` contains identifiers and SQLSTATEs, but never a value: the
/// server's own details quote whole rows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.description)]
pub struct DatabaseError(Box<ErrorParts>);

#[derive(Debug, Clone)]
struct ErrorParts {
    kind: DatabaseErrorKind,
    state: Option<SqlState>,
    lost: bool,
    /// Whether the server may have executed the statement anyway.
    may_have_run: bool,
    /// Set only for a failure to connect.
    refusal: Refusal,
    description: String,
}

/// What a failure to connect implies for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Nothing: it is final, or not a failure to connect.
    Final,
    /// The server may accept connections in a moment: it is restarting, or has no free slot.
    Transient,
    /// The server may accept a connection with TLS if this one had none, and vice versa.
    Transport,
    /// The password is wrong or outdated.
    Password,
}

impl DatabaseError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> &DatabaseErrorKind {
        &self.0.kind
    }

    /// A statement was not answered within its timeout, although the server is alive.
    pub(super) fn statement_timed_out() -> Self {
        Self::plain(
            DatabaseErrorKind::Timeout,
            false,
            "the statement timed out and was cancelled",
        )
    }

    /// Neither a statement nor its cancellation was answered in time: the server no longer
    /// responds.
    pub(super) fn connection_went_silent() -> Self {
        Self::plain(
            DatabaseErrorKind::Unavailable,
            true,
            "the server stopped responding",
        )
    }

    /// Other requests' statements used up all the time.
    pub(super) fn statement_waited_too_long() -> Self {
        Self::plain(
            DatabaseErrorKind::Timeout,
            false,
            "timed out waiting for a connection",
        )
    }

    /// Connecting took too long.
    #[must_use]
    pub fn connect_timed_out() -> Self {
        let mut error = Self::plain(
            DatabaseErrorKind::Unavailable,
            false,
            "connecting timed out",
        );
        error.0.refusal = Refusal::Transient;
        error
    }

    /// A failure to connect; whatever the reason, the server cannot be used.
    pub(super) fn connecting(error: &tokio_postgres::Error) -> Self {
        let refusal = refusal(error);
        let mut error = Self::from(error);
        error.0.kind = DatabaseErrorKind::Unavailable;
        error.0.lost = false;
        error.0.refusal = refusal;
        error
    }

    /// The configuration is invalid.
    pub(super) fn config(error: SettingsError) -> Self {
        Self::plain(DatabaseErrorKind::Unavailable, false, &error.to_string())
    }

    /// There are no credentials for the server.
    pub(super) fn credentials(description: &str) -> Self {
        Self::plain(DatabaseErrorKind::Unavailable, false, description)
    }

    /// A statement returned something it never should.
    #[must_use]
    pub fn unexpected(description: &str) -> Self {
        Self::plain(DatabaseErrorKind::Other, false, description)
    }

    /// The same failure, with the missing rights that caused it.
    pub(crate) fn with_missing_rights(mut self, missing: String) -> Self {
        self.0.kind = DatabaseErrorKind::Permission(missing);
        self
    }

    /// Whether missing rights may be the cause. A schema without `USAGE` hides its tables, which
    /// then seem not to exist.
    pub(crate) fn may_lack_rights(&self) -> bool {
        self.0.state == Some(SqlState::INSUFFICIENT_PRIVILEGE)
            || self.0.state == Some(SqlState::UNDEFINED_TABLE)
    }

    /// Whether a retry may help, on a new connection if this one is lost.
    pub(super) fn is_retryable(&self) -> bool {
        self.0.lost
            || matches!(
                self.0.state,
                Some(SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED)
            )
    }

    /// Whether the statement was ended by a cancellation.
    pub(super) fn is_cancelled(&self) -> bool {
        self.0.state == Some(SqlState::QUERY_CANCELED)
    }

    /// Whether connecting may succeed in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.refusal == Refusal::Transient
    }

    /// Whether the server rejected the user for a reason other than a wrong password. RDS does so
    /// for a moment when an IAM role is new.
    #[must_use]
    pub fn refuses_user(&self) -> bool {
        self.0.state == Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    /// Whether connecting may succeed with TLS instead of without it, or vice versa.
    pub(super) fn refuses_transport(&self) -> bool {
        self.0.refusal == Refusal::Transport
    }

    /// Whether the server refused the password.
    pub(super) fn is_wrong_password(&self) -> bool {
        self.0.refusal == Refusal::Password
    }

    /// Whether the server may have executed the statement anyway.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.0.may_have_run
    }

    /// The same failure, for a statement that was sent.
    pub(super) fn after_sending(mut self) -> Self {
        self.0.may_have_run = true;
        self
    }

    /// Whether the connection can no longer be used.
    pub(super) fn ends_connection(&self) -> bool {
        self.0.lost
    }

    fn plain(kind: DatabaseErrorKind, lost: bool, description: &str) -> Self {
        let description = description.to_owned();
        Self(Box::new(ErrorParts {
            kind,
            state: None,
            lost,
            may_have_run: false,
            refusal: Refusal::Final,
            description,
        }))
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&tokio_postgres::Error> for DatabaseError {
    fn from(error: &tokio_postgres::Error) -> Self {
        if let Some(answer) = error.as_db_error() {
            return Self(Box::new(ErrorParts {
                kind: kind(answer.code()),
                state: Some(answer.code().clone()),
                lost: ends_session(answer),
                may_have_run: false,
                refusal: Refusal::Final,
                description: describe(answer),
            }));
        }
        let io = error
            .source()
            .is_some_and(|source| source.is::<io::Error>());
        let lost = error.is_closed() || io;
        let kind = if lost {
            DatabaseErrorKind::Unavailable
        } else {
            DatabaseErrorKind::Other
        };
        Self::plain(kind, lost, &with_causes(error))
    }
}

/// What a failure to connect implies for a retry.
fn refusal(error: &tokio_postgres::Error) -> Refusal {
    if let Some(answer) = error.as_db_error() {
        return match *answer.code() {
            // The second is PgBouncer's code for it.
            SqlState::INVALID_PASSWORD | SqlState::PROTOCOL_VIOLATION => Refusal::Password,
            // No line of `pg_hba.conf` matches; a line may require TLS, or its absence.
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Refusal::Transport,
            SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN => Refusal::Transient,
            _ => Refusal::Final,
        };
    }
    let io = io_error(error.source());
    // tokio-postgres does not expose the kind of the error.
    let is_handshake = error
        .to_string()
        .starts_with("error performing TLS handshake");
    if io.is_none() && is_handshake {
        return Refusal::Transport;
    }
    let is_transient = match io.map(io::Error::kind) {
        None => error.is_closed(),
        Some(
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            // A read-only server where `target_session_attrs` asks for one that takes writes.
            | io::ErrorKind::PermissionDenied,
        ) => true,
        // A truncated message, as the protocol's reader reports it. A host name that is not found
        // has the same kind, but does not pass quickly.
        Some(io::ErrorKind::Other) => !error.to_string().starts_with("error connecting"),
        Some(_) => false,
    };
    if is_transient {
        Refusal::Transient
    } else {
        Refusal::Final
    }
}

/// The I/O error behind an error, if there is one.
fn io_error<'a>(mut cause: Option<&'a (dyn Error + 'static)>) -> Option<&'a io::Error> {
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// What to do about an SQLSTATE (PostgreSQL documentation, appendix A).
fn kind(state: &SqlState) -> DatabaseErrorKind {
    match *state {
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::INVALID_SCHEMA_NAME => DatabaseErrorKind::SchemaMissing,
        SqlState::INSUFFICIENT_PRIVILEGE => DatabaseErrorKind::Permission("a right".to_owned()),
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => DatabaseErrorKind::Timeout,
        SqlState::INVALID_CATALOG_NAME
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::READ_ONLY_SQL_TRANSACTION => DatabaseErrorKind::Unavailable,
        // 08 connection, 28 authorization, 53 resources, 57 operator intervention, 58 system error.
        _ if ["08", "28", "53", "57", "58"].contains(&class(state)) => {
            DatabaseErrorKind::Unavailable
        }
        _ => DatabaseErrorKind::Other,
    }
}

/// Whether the server ends the session, or is one to disconnect from: after a failover the old
/// writer answers that it is read-only.
fn ends_session(answer: &DbError) -> bool {
    matches!(
        answer.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    ) || class(answer.code()) == "08"
        || *answer.code() == SqlState::READ_ONLY_SQL_TRANSACTION
}

fn class(state: &SqlState) -> &str {
    state.code().get(..2).unwrap_or_default()
}

/// The part of the server's answer that may be logged. The messages of data exceptions (22),
/// constraint violations (23) and raised errors (P0) can quote values; the others name objects and
/// users.
fn describe(answer: &DbError) -> String {
    let state = answer.code();
    let mut description = format!("SQLSTATE {}", state.code());
    if !["22", "23", "P0"].contains(&class(state)) {
        description.push_str(&format!(": {}", answer.message()));
    }
    let places = [
        ("table", answer.table()),
        ("column", answer.column()),
        ("constraint", answer.constraint()),
        ("routine", answer.routine()),
    ];
    for (kind, name) in places {
        if let Some(name) = name {
            description.push_str(&format!(", {kind} {name}"));
        }
    }
    description
}
