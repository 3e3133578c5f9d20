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
pub mod privileges;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

pub use config::{DatabaseConfig, DatabaseConfigError};
pub use connection::Connection;
pub use error::{DatabaseError, DatabaseFailure};

/// How long connecting may take, from the name look-up to the end of the authentication.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long one statement may take; then its connection is given up, because the next statement
/// would wait behind it.
const STATEMENT_LIMIT: Duration = Duration::from_secs(4);

/// How long connecting, a statement and its repetition may take together.
const OPERATION_LIMIT: Duration = Duration::from_secs(9);

/// A parameter of a statement with its type, which spares the server a question to the client.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The database, connected when it is first needed.
#[derive(Debug)]
pub struct Database {
    config: DatabaseConfig,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
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
    pub async fn warm(&self) {
        if let Err(error) = self.connection(Instant::now() + CONNECT_LIMIT).await {
            tracing::error!(cause = %error, "the database cannot be reached yet");
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
        let deadline = deadline.min(Instant::now() + OPERATION_LIMIT);
        match self.attempt(deadline, statement, parameters).await {
            Err(error) if error.may_repeat() => {
                tracing::warn!(cause = %error, "repeating a statement");
                self.attempt(deadline, statement, parameters).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(
        &self,
        deadline: Instant,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let connection = self.connection(deadline).await?;
        let limit = deadline.min(Instant::now() + STATEMENT_LIMIT);
        let answer = timeout_at(
            limit,
            connection.client().query_typed(statement, parameters),
        );
        let error = match answer.await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => DatabaseError::from(error),
            Err(_) => {
                connection.cancel(&self.config);
                DatabaseError::statement_timed_out()
            }
        };
        let error = privileges::explain(&connection, limit, error).await;
        if error.ends_connection() {
            self.discard(&connection).await;
        }
        Err(error)
    }

    /// The kept connection, or a new one. Callers that arrive while one is being made share it, and
    /// share its failure.
    async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>, DatabaseError> {
        // On a runtime of one thread this lets the connection's task read what arrived while the
        // environment was frozen, so that `is_closed` tells the truth.
        tokio::task::yield_now().await;

        let arrived = Instant::now();
        let waited = timeout_at(deadline, self.slot.lock()).await;
        let mut slot = waited.map_err(|_| DatabaseError::connect_timed_out())?;
        if let Some(connection) = &slot.connection
            && !connection.client().is_closed()
        {
            return Ok(Arc::clone(connection));
        }
        slot.connection = None;
        if let Some((at, error)) = &slot.failure
            && *at >= arrived
        {
            return Err(error.clone());
        }

        let limit = deadline.min(Instant::now() + CONNECT_LIMIT);
        let connected = timeout_at(limit, Connection::open(&self.config)).await;
        match connected.unwrap_or_else(|_| Err(DatabaseError::connect_timed_out())) {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.connection = Some(Arc::clone(&connection));
                slot.failure = None;
                Ok(connection)
            }
            Err(error) => {
                slot.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Gives up a connection, unless another caller has replaced it already.
    async fn discard(&self, connection: &Arc<Connection>) {
        connection.close();
        let mut slot = self.slot.lock().await;
        if slot
            .connection
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(kept, connection))
        {
            slot.connection = None;
        }
    }
}
