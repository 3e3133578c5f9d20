//! What a database failure means to a request, and what may be logged of it.

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
    /// A statement took longer than it may, on a connection that is alive.
    Timeout,
    /// Run the migrations: a table, column or function is not there.
    SchemaMissing,
    /// Grant these rights, each as `RIGHT on object`.
    Permission(String),
    /// A fault of ours.
    Other,
}

/// A failure of the database. `Display` holds identifiers and SQLSTATEs, but never a value: the
/// server's own details quote whole rows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.description)]
pub struct DatabaseError(Box<ErrorParts>);

#[derive(Debug, Clone)]
struct ErrorParts {
    kind: DatabaseErrorKind,
    state: Option<SqlState>,
    constraint: Option<String>,
    lost: bool,
    /// Whether the server may have executed the statement all the same.
    may_have_run: bool,
    /// Only of a failure to connect.
    refusal: Refusal,
    description: String,
}

/// What a failure to connect says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Nothing: it is final, or no failure to connect.
    Final,
    /// The server may take connections in a moment: it restarts, or has no place free.
    Transient,
    /// The server may take a connection with TLS if this one had none, and the other way round.
    Transport,
    /// The password is wrong, or not the newest.
    Password,
}

impl DatabaseError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> &DatabaseErrorKind {
        &self.0.kind
    }

    /// Whether the constraint of this name was violated.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        self.0.constraint.as_deref() == Some(constraint)
    }

    /// A statement did not come back within its limit, although the server is there.
    pub(super) fn statement_timed_out() -> Self {
        Self::plain(
            DatabaseErrorKind::Timeout,
            false,
            "the statement was not answered in time and was cancelled",
        )
    }

    /// A statement did not come back within its limit, and neither did its cancellation: whatever is
    /// on the other side, it does not answer.
    pub(super) fn connection_went_silent() -> Self {
        Self::plain(
            DatabaseErrorKind::Unavailable,
            true,
            "the server does not answer any more",
        )
    }

    /// Others' statements took all the time there was.
    pub(super) fn statement_waited_too_long() -> Self {
        Self::plain(
            DatabaseErrorKind::Timeout,
            false,
            "timed out waiting for the connection",
        )
    }

    /// Connecting took too long.
    #[must_use]
    pub fn connect_timed_out() -> Self {
        let mut error = Self::plain(
            DatabaseErrorKind::Unavailable,
            false,
            "connecting took too long",
        );
        error.0.refusal = Refusal::Transient;
        error
    }

    /// A failure to connect; whatever it is, the server cannot be used.
    pub(super) fn connecting(error: &tokio_postgres::Error) -> Self {
        let refusal = refusal(error);
        let mut error = Self::from(error);
        error.0.kind = DatabaseErrorKind::Unavailable;
        error.0.lost = false;
        error.0.refusal = refusal;
        error
    }

    /// What was configured cannot be used.
    pub(super) fn config(error: SettingsError) -> Self {
        Self::plain(DatabaseErrorKind::Unavailable, false, &error.to_string())
    }

    /// There are no credentials to show the server.
    pub(super) fn credentials(description: &str) -> Self {
        Self::plain(DatabaseErrorKind::Unavailable, false, description)
    }

    /// A statement broke its promise about what it gives back.
    #[must_use]
    pub fn unexpected(description: &str) -> Self {
        Self::plain(DatabaseErrorKind::Other, false, description)
    }

    /// The same failure with the rights that it turned out to be about.
    pub(crate) fn with_missing_rights(mut self, missing: String) -> Self {
        self.0.kind = DatabaseErrorKind::Permission(missing);
        self
    }

    /// Whether missing rights may be behind it. A schema without `USAGE` hides its tables, which
    /// then seem not to exist.
    pub(crate) fn may_lack_rights(&self) -> bool {
        self.0.state == Some(SqlState::INSUFFICIENT_PRIVILEGE)
            || self.0.state == Some(SqlState::UNDEFINED_TABLE)
    }

    /// Whether sending the statement once more, on a new connection if this one is lost, may help.
    pub(super) fn is_retryable(&self) -> bool {
        self.0.lost
            || matches!(
                self.0.state,
                Some(SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED)
            )
    }

    /// Whether a statement was ended by a cancellation.
    pub(super) fn is_cancelled(&self) -> bool {
        self.0.state == Some(SqlState::QUERY_CANCELED)
    }

    /// Whether connecting may go well in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.refusal == Refusal::Transient
    }

    /// Whether the server did not let the user in, for another reason than a wrong password. RDS says so
    /// for a moment to a role of IAM that is new.
    #[must_use]
    pub fn refuses_user(&self) -> bool {
        self.0.state == Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    /// Whether connecting may go well with TLS instead of without it, or the other way round.
    pub(super) fn refuses_transport(&self) -> bool {
        self.0.refusal == Refusal::Transport
    }

    /// Whether the server refused the password.
    pub(super) fn is_wrong_password(&self) -> bool {
        self.0.refusal == Refusal::Password
    }

    /// Whether the server may have executed the statement all the same.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.0.may_have_run
    }

    /// The same failure of a statement that was sent.
    pub(super) fn after_sending(mut self) -> Self {
        self.0.may_have_run = true;
        self
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        self.0.lost
    }

    fn plain(kind: DatabaseErrorKind, lost: bool, description: &str) -> Self {
        let description = description.to_owned();
        Self(Box::new(ErrorParts {
            kind,
            state: None,
            constraint: None,
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
                constraint: answer.constraint().map(str::to_owned),
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

/// What a failure to connect says about trying again.
fn refusal(error: &tokio_postgres::Error) -> Refusal {
    if let Some(answer) = error.as_db_error() {
        return match *answer.code() {
            // The second is what PgBouncer calls it.
            SqlState::INVALID_PASSWORD | SqlState::PROTOCOL_VIOLATION => Refusal::Password,
            // What `pg_hba.conf` has no line for; the line may ask for TLS, or for none.
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Refusal::Transport,
            SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN => Refusal::Transient,
            _ => Refusal::Final,
        };
    }
    let io = io_error(error.source());
    // The kind of the error is not to be had otherwise.
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
            // A server that takes no writes where `target_session_attrs` wants one that does.
            | io::ErrorKind::PermissionDenied,
        ) => true,
        // Half a message, as the protocol's reader calls it; a name that is not found is the same
        // kind, but passes no faster.
        Some(io::ErrorKind::Other) => !error.to_string().starts_with("error connecting"),
        Some(_) => false,
    };
    if is_transient {
        Refusal::Transient
    } else {
        Refusal::Final
    }
}

/// The failure of the network or the system behind an error, if that is what it is.
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

/// Whether the server ends the session, or is one to turn away from: after a failover the old writer
/// answers that it is read-only.
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

/// What may be logged of the server's answer. The messages of data exceptions (22), constraint
/// violations (23) and raised errors (P0) can quote values; the others name objects and users.
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
