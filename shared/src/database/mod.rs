//! The one connection to PostgreSQL: made once, kept across invocations, replaced when it died.
//!
//! Every statement is sent by [`Database::query`]: one round trip, nothing named left on the server,
//! no session state, so it works directly and behind a transaction pooler. A statement must bear
//! being executed twice, because one that was lost on the way is sent again on a new connection, and
//! nobody can tell whether the server had executed it (the error is the same either way).

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

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Row;

pub use config::DatabaseConfig;
pub use connection::{Connection, Parameter};
pub use error::{DatabaseError, DatabaseErrorKind};
pub use limits::Limits;
pub use tls::SslMode;

use crate::observed;

/// How long connecting ahead may take. Lambda's init phase ends after 10 s, and begins anew then.
const PRECONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a cancelled statement may take to end. One that does not tells that nobody is there.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How long the server may take for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before connecting is tried again, where that may help; each is twice as long as the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The database, connected when it is first needed.
///
/// Statements of requests at once take turns on the connection. PostgreSQL itself would take the next
/// before it has answered the last; poolers in transaction mode do not bear it (Supavisor lets the
/// second answer get lost, an old PgBouncer hands the connection on too early).
#[derive(Debug)]
pub struct Database {
    config: DatabaseConfig,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Not here while a statement is under way: should the caller leave then, the connection goes,
    /// because an answer that nobody waits for is still to come on it.
    connection: Option<Connection>,
    /// When the connection was last asked for, by the clock on the wall: others stand still while
    /// the environment is frozen.
    last_use: Option<SystemTime>,
    /// When connecting failed last, so that those who waited for it do not try one by one.
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

    /// Connects ahead of the first statement, where the processor is fast and nobody waits. A
    /// failure is logged and otherwise left to the first request, which tries again.
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
    /// [`DatabaseError`], which tells what to do about it.
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

    /// Runs a statement whose work grows with the session: it may take all the time the caller has.
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

    /// Runs a statement, and once more if its connection was lost.
    async fn run(
        &self,
        deadline: Instant,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        match self.attempt(deadline, limit, statement, parameters).await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(cause = %error, "repeating a statement");
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
        let (answered, is_quiet) = {
            let answer = connection.client().query_typed(statement, parameters);
            let mut answer = std::pin::pin!(answer);
            match timeout_at(limit, &mut answer).await {
                Ok(answered) => (answered.map_err(DatabaseError::from), true),
                Err(_) => {
                    connection.cancel();
                    after_cancelling(answer, deadline).await
                }
            }
        };
        let is_lost = answered.as_ref().is_err_and(DatabaseError::ends_connection);
        if is_quiet && !is_lost {
            slot.connection = Some(connection);
        }
        answered.map_err(DatabaseError::after_sending)
    }

    /// The kept connection, taken out of its place, or a new one. Callers that `arrived` while
    /// connecting failed share that failure.
    async fn connection(
        &self,
        slot: &mut Slot,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<Connection, DatabaseError> {
        // On a runtime of one thread this lets the connection's task read what arrived while the
        // environment was frozen, so that `is_closed` tells the truth.
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

    /// Connects; waits for a server that restarts or has no place free, as long as the limit lets it.
    async fn open(&self, limit: Instant) -> Result<Connection, DatabaseError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match Connection::open(&self.config).await {
                Err(error) if error.is_transient() && Instant::now() + pause < limit => {
                    tracing::info!(cause = %error, "the database does not take connections yet");
                    sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether the other side answers still; it is asked only after a long silence. A path that was
    /// forgotten meanwhile, by a NAT gateway for one, may swallow what is sent without a sign.
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

    /// Closes the connection after what is under way, and tells the server. The next statement makes a
    /// new one.
    pub async fn close(&self) {
        let connection = self.slot.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }
}

/// What a statement comes to that was cancelled because it took too long, and whether nothing is on its
/// way to its connection any more. A server that ends it is there, so the statement is at fault, and
/// sending it again would only cost the same once more. A server that says nothing is lost. Whoever has
/// no time to find out is told of the first.
///
/// A statement that ended by itself just then leaves the cancellation behind, which would hit the next one.
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
