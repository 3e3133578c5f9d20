//! The one connection to PostgreSQL: opened once, kept across invocations, replaced when it dies.
//!
//! [`Database::query`] sends every statement: one round trip, no prepared statement left on the
//! server, no session state, so it works directly and behind a transaction pooler. Statements must
//! be idempotent: if the connection drops before the answer arrives, the statement is sent again,
//! and the client cannot know whether the first one ran (the error is the same either way).

mod cancel;
mod config;
mod connection;
mod connection_string;
mod error;
mod iam;
mod limits;
mod parameters;
mod roots;
mod secret;
mod target;
mod tls;

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Row;

pub use config::DatabaseConfig;
pub use connection::{Connection, Parameter};
pub use error::{DatabaseError, DatabaseErrorKind};
pub use limits::Limits;
pub use tls::SslMode;

use crate::observed;

/// Timeout for connecting during init. Lambda's init phase is cut off after 10 s and starts over.
const PRECONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Timeout for a cancelled statement to end. If it does not, the server is gone.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Timeout for probing whether the server is alive.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before the first retry to connect, where one may help; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The database, connected on first use.
///
/// Concurrent requests queue for the connection. PostgreSQL would accept the next statement before
/// it has answered the last, but transaction poolers break when a client pipelines statements
/// (Supavisor can lose the second answer, an old PgBouncer reassigns the connection too early).
#[derive(Debug)]
pub struct Database {
    config: DatabaseConfig,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Taken out while a statement is running. If the caller leaves meanwhile, the connection is
    /// dropped, because an answer that nothing reads is still due on it.
    connection: Option<Connection>,
    /// When the connection was last requested, by the wall clock: monotonic clocks stand still
    /// while the environment is frozen.
    last_use: Option<SystemTime>,
    /// When connecting last failed, so that callers who waited for it do not each try in turn.
    failure: Option<(Instant, DatabaseError)>,
}

impl Database {
    /// A database that is not connected yet.
    #[must_use]
    pub fn new(config: DatabaseConfig) -> Self {
        Self {
            config,
            slot: Mutex::default(),
        }
    }

    /// Connects before the first statement, while the CPU is fast and no caller is waiting. A
    /// failure is only logged; the first request tries again.
    pub async fn preconnect(&self) {
        let deadline = Instant::now() + self.config.limits().connect.min(PRECONNECT_TIMEOUT);
        let mut slot = self.slot.lock().await;
        match self.connection(&mut slot, Instant::now(), deadline).await {
            Ok(connection) => slot.connection = Some(connection),
            Err(error) => tracing::error!(cause = %error, "the database cannot be reached yet"),
        }
    }

    /// Runs one statement in one round trip. `deadline` is when the caller stops waiting.
    ///
    /// # Errors
    /// [`DatabaseError`], which says what to do about it.
    pub async fn query(
        &self,
        deadline: Instant,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let limits = self.config.limits();
        let deadline = deadline.min(Instant::now() + limits.operation());
        self.run(deadline, limits.statement, statement, parameters)
            .await
    }

    /// Runs a statement whose work grows with the session; it may use all the time the caller has.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn query_at_length(
        &self,
        deadline: Instant,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let limit = deadline
            .saturating_duration_since(Instant::now())
            .saturating_sub(CANCEL_GRACE)
            .max(self.config.limits().statement);
        self.run(deadline, limit, statement, parameters).await
    }

    /// Runs a statement, and retries it once if its connection was lost.
    async fn run(
        &self,
        deadline: Instant,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        match self.attempt(deadline, limit, statement, parameters).await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(cause = %error, "retrying a statement");
                observed::repeat();
                self.attempt(deadline, limit, statement, parameters)
                    .await
                    .map_err(DatabaseError::after_sending)
            }
            outcome => outcome,
        }
    }

    async fn attempt(
        &self,
        deadline: Instant,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let arrived = Instant::now();
        let waited = timeout_at(deadline, self.slot.lock()).await;
        let mut slot = waited.map_err(|_| DatabaseError::statement_waited_too_long())?;
        let connection = self.connection(&mut slot, arrived, deadline).await?;

        observed::round_trip();
        let limit = deadline.min(Instant::now() + limit);
        let mut cancelling = None;
        let (answered, is_quiet) = {
            let answer = connection.client().query_typed(statement, parameters);
            let mut answer = std::pin::pin!(answer);
            match timeout_at(limit, &mut answer).await {
                Ok(answered) => (answered.map_err(DatabaseError::from), true),
                Err(_) => {
                    cancelling = Some(connection.cancel());
                    after_cancelling(answer, deadline).await
                }
            }
        };
        let is_lost = answered.as_ref().is_err_and(DatabaseError::ends_connection);
        if is_quiet && !is_lost {
            slot.connection = Some(connection);
        } else if let Some(cancelling) = cancelling {
            // A pooler looks for the client of the statement to cancel, so it stays until then.
            tokio::spawn(cancelling.map(|_| drop(connection)));
        }
        answered.map_err(DatabaseError::after_sending)
    }

    /// Takes the kept connection out of its slot, or opens a new one. Callers that `arrived` before
    /// a failed attempt to connect ended share its failure.
    async fn connection(
        &self,
        slot: &mut Slot,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<Connection, DatabaseError> {
        // On a single-threaded runtime this lets the connection's task read what arrived while the
        // environment was frozen, so that `is_closed` is accurate.
        tokio::task::yield_now().await;

        let quiet_since = slot.last_use.replace(SystemTime::now());
        if let Some(connection) = slot.connection.take()
            && !connection.client().is_closed()
            && self.is_alive(&connection, quiet_since, deadline).await
        {
            return Ok(connection);
        }
        if let Some((at, error)) = &slot.failure
            && *at >= arrived
        {
            return Err(error.clone());
        }

        let limit = deadline.min(Instant::now() + self.config.limits().connect);
        let connected = timeout_at(limit, self.open(limit)).await;
        let connected = connected.unwrap_or_else(|_| Err(DatabaseError::connect_timed_out()));
        if connected.is_ok() {
            observed::connect();
        }
        slot.failure = connected
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        connected
    }

    /// Connects. Retries within the limit while the server is restarting or has no free slot.
    async fn open(&self, limit: Instant) -> Result<Connection, DatabaseError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match Connection::open(&self.config).await {
                Err(error) if error.is_transient() && Instant::now() + pause < limit => {
                    tracing::info!(cause = %error, "the database is not accepting connections yet");
                    sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether the server still answers. It is probed only after a long silence: a path that was
    /// forgotten meanwhile, for example by a NAT gateway, may swallow packets without an error.
    async fn is_alive(
        &self,
        connection: &Connection,
        quiet_since: Option<SystemTime>,
        deadline: Instant,
    ) -> bool {
        let quiet = quiet_since.and_then(|since| since.elapsed().ok());
        if quiet.is_none_or(|quiet| quiet < self.config.limits().idle_check) {
            return true;
        }
        observed::round_trip();
        let sign_of_life = connection.client().check_connection();
        let limit = deadline.min(Instant::now() + PROBE_TIMEOUT);
        matches!(timeout_at(limit, sign_of_life).await, Ok(Ok(())))
    }

    /// Closes the connection once the running statement has ended, and tells the server. The next
    /// statement opens a new one.
    pub async fn close(&self) {
        let connection = self.slot.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }
}

/// The result of a statement that was cancelled because it took too long, and whether its
/// connection is quiet, with nothing more to come. If the server ends the statement, the server is
/// alive and the statement is at fault; sending it again would only cost the same once more. If the
/// server stays silent, the connection is lost. A caller without the time to find out gets the
/// first of these errors.
///
/// A statement that ended by itself at that moment leaves its cancellation pending, and the next
/// one would be hit by it.
async fn after_cancelling(
    answer: impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>>,
    deadline: Instant,
) -> (Result<Vec<Row>, DatabaseError>, bool) {
    let until = deadline.min(Instant::now() + CANCEL_GRACE);
    match timeout_at(until, answer).await {
        Ok(Ok(rows)) => (Ok(rows), false),
        Ok(Err(error)) => {
            let error = DatabaseError::from(error);
            let is_cancelled = error.is_cancelled();
            let error = match error.kind() {
                DatabaseErrorKind::Timeout => DatabaseError::statement_timed_out(),
                _ => error,
            };
            (Err(error), is_cancelled)
        }
        Err(_) if until == deadline => (Err(DatabaseError::statement_timed_out()), false),
        Err(_) => (Err(DatabaseError::connection_went_silent()), false),
    }
}
