//! The connections to PostgreSQL: kept across invocations, replaced when they die. One is enough for
//! a function, which serves one request at a time; the local server has several.
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
mod pool;
mod roots;
mod secret;
mod target;
mod tls;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Row;

pub use config::DatabaseConfig;
pub use connection::{Connection, Parameter};
pub use error::{DatabaseError, DatabaseErrorKind};
pub use limits::Limits;
pub use tls::SslMode;

use crate::observed;
use pool::{Place, Pool, Share, Vacancy};

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
/// Concurrent requests queue for a connection, each for one statement. PostgreSQL would accept the
/// next statement before it has answered the last, but transaction poolers break when a client
/// pipelines statements (Supavisor can lose the second answer, an old PgBouncer reassigns the
/// connection too early).
#[derive(Debug)]
pub struct Database {
    config: DatabaseConfig,
    pool: Pool<Connection>,
    /// When connecting last failed, so that callers who waited for it do not each try in turn.
    failure: Mutex<Option<(Instant, DatabaseError)>>,
}

/// A connection in use. If the caller leaves before the answer, it is dropped and with it the
/// connection, because an answer that nothing reads is still due on it.
type InUse<'a> = (Connection, Share<'a, Connection>);

impl Database {
    /// A database that is not connected yet.
    #[must_use]
    pub fn new(config: DatabaseConfig) -> Self {
        Self {
            pool: Pool::new(config.limits().connections),
            config,
            failure: Mutex::default(),
        }
    }

    /// Opens one connection before the first statement, while the CPU is fast and no caller is
    /// waiting. A failure is only logged; the first request tries again.
    pub async fn preconnect(&self) {
        let deadline = Instant::now() + self.config.limits().connect.min(PRECONNECT_TIMEOUT);
        match self.connection(Instant::now(), deadline).await {
            Ok((connection, share)) => put_back(connection, share),
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
        // Boxed: the future is large, and every handler's would contain it several times.
        let attempt = || self.attempt(deadline, limit, statement, parameters).boxed();
        match attempt().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(cause = %error, "retrying a statement");
                observed::repeat();
                attempt().await.map_err(DatabaseError::after_sending)
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
        let (connection, share) = self.connection(Instant::now(), deadline).await?;

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
            put_back(connection, share);
        } else {
            if is_lost {
                share.lost();
            }
            if let Some(cancelling) = cancelling {
                // A pooler looks for the client of the statement to cancel, so it stays until then.
                tokio::spawn(cancelling.map(|_| drop(connection)));
            }
        }
        answered.map_err(DatabaseError::after_sending)
    }

    /// Waits for a connection: an idle one that is alive, or a new one. Callers that `arrived`
    /// before a failed attempt to connect ended share its failure.
    async fn connection(
        &self,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<InUse<'_>, DatabaseError> {
        loop {
            let waited = timeout_at(deadline, self.pool.place()).await;
            let place = waited.map_err(|_| DatabaseError::statement_waited_too_long())?;
            // On a single-threaded runtime this lets the connection's task read what arrived while
            // the environment was frozen, so that `is_closed` is accurate.
            tokio::task::yield_now().await;

            match place {
                Place::Taken(idle, _) if idle.connection.client().is_closed() => {}
                Place::Taken(idle, share) => {
                    if self.is_alive(&idle.connection, idle.since, deadline).await {
                        return Ok((idle.connection, share));
                    }
                    share.lost();
                }
                Place::Vacant(vacancy) if self.pool.count() == 0 => {
                    return self.first(vacancy, arrived, deadline).await;
                }
                Place::Vacant(vacancy) => {
                    if let Some(another) = self.another(vacancy, deadline).await {
                        return Ok(another);
                    }
                }
            }
        }
    }

    /// Opens a connection when there is none.
    async fn first<'a>(
        &self,
        vacancy: Vacancy<'a, Connection>,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<InUse<'a>, DatabaseError> {
        if let Some((at, error)) = &*self.failure()
            && *at >= arrived
        {
            return Err(error.clone());
        }
        let limit = self.connect_limit(deadline);
        let connected = within(limit, self.open(limit)).await;
        let failed = connected.as_ref().err();
        *self.failure() = failed.map(|error| (Instant::now(), error.clone()));
        Ok((connected?, vacancy.filled()))
    }

    /// Opens a connection when there are others. `None` if that fails: then the caller waits for one
    /// of those.
    async fn another<'a>(
        &self,
        vacancy: Vacancy<'a, Connection>,
        deadline: Instant,
    ) -> Option<InUse<'a>> {
        let limit = self.connect_limit(deadline);
        match within(limit, Connection::open(&self.config)).await {
            Ok(connection) => Some((connection, vacancy.filled())),
            Err(error) => {
                let connections = self.pool.count();
                tracing::warn!(
                    cause = %error,
                    connections,
                    "no further connection can be opened"
                );
                vacancy.failed();
                None
            }
        }
    }

    fn connect_limit(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.config.limits().connect)
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
        quiet_since: SystemTime,
        deadline: Instant,
    ) -> bool {
        let quiet = quiet_since.elapsed().unwrap_or_default();
        if quiet < self.config.limits().idle_check {
            return true;
        }
        observed::round_trip();
        let sign_of_life = connection.client().check_connection();
        let limit = deadline.min(Instant::now() + PROBE_TIMEOUT);
        matches!(timeout_at(limit, sign_of_life).await, Ok(Ok(())))
    }

    /// Closes the connections once the running statements have ended, and tells the server. The
    /// next statement opens a new one.
    pub async fn close(&self) {
        let mut closing = Vec::new();
        // Whoever holds the vacancy is the only one who could open another.
        let mut vacancy = None;
        while vacancy.is_none() || self.pool.count() > 0 {
            match self.pool.place().await {
                Place::Taken(idle, _) => closing.push(idle.connection.close()),
                Place::Vacant(vacant) => vacancy = Some(vacant),
            }
        }
        join_all(closing).await;
    }

    fn failure(&self) -> MutexGuard<'_, Option<(Instant, DatabaseError)>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a connection back for the next caller.
fn put_back(connection: Connection, share: Share<'_, Connection>) {
    if let Some(surplus) = share.keep(connection) {
        tokio::spawn(surplus.close());
    }
}

/// Connects within a limit.
async fn within(
    limit: Instant,
    connecting: impl Future<Output = Result<Connection, DatabaseError>>,
) -> Result<Connection, DatabaseError> {
    let connected = timeout_at(limit, connecting).await;
    let connected = connected.unwrap_or_else(|_| Err(DatabaseError::connect_timed_out()));
    if connected.is_ok() {
        observed::connect();
    }
    connected
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
