//! The statements that requests run, one module for each table: functions over a [`Store`]. Every
//! statement takes the caller's owner, so that another owner's session does not exist for it. Only those of
//! `maintain`, in [`erasures`], are of nobody's request and look at all sessions.

pub mod derived;
pub mod erasures;
pub mod export;
pub mod feedback;
pub mod links;
pub mod listing;
pub mod messages;
pub mod recordings;
pub mod rights;
mod room;
pub mod search;
pub mod sessions;
pub mod statements;
pub mod streams;
pub mod turns;

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::Row;

use self::rights::Role;
use self::statements::Statement;
use crate::caller::Caller;
use crate::database::{Database, DatabaseError, Parameter};

/// Where the conversations are: what the functions and the assistant are handed to run statements
/// on. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// The store in a database.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Runs one statement in one round trip. If it fails and rights may be missing, the error names
    /// them.
    ///
    /// # Errors
    /// [`DatabaseError`].
    async fn query(
        &self,
        caller: &Caller,
        statement: Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let answered = self
            .database
            .query(caller.deadline, statement.sql, parameters)
            .await;
        self.explained(caller.deadline, Role::App, answered).await
    }

    /// Like [`Self::query`], for a statement whose work grows with the session.
    ///
    /// # Errors
    /// [`DatabaseError`].
    async fn query_at_length(
        &self,
        caller: &Caller,
        statement: Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let answered = self
            .database
            .query_at_length(caller.deadline, statement.sql, parameters)
            .await;
        self.explained(caller.deadline, Role::App, answered).await
    }

    /// Runs a statement on the catalogue of recordings, which may take until `deadline`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    async fn catalogue(
        &self,
        deadline: Instant,
        statement: Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let answered = self
            .database
            .query_at_length(deadline, statement.sql, parameters)
            .await;
        self.explained(deadline, Role::App, answered).await
    }

    /// Runs a statement of `maintain`, which may take until `deadline`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    async fn maintain(
        &self,
        deadline: Instant,
        statement: Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let answered = self
            .database
            .query_at_length(deadline, statement.sql, parameters)
            .await;
        self.explained(deadline, Role::Maintain, answered).await
    }

    async fn explained(
        &self,
        deadline: Instant,
        role: Role,
        answered: Result<Vec<Row>, DatabaseError>,
    ) -> Result<Vec<Row>, DatabaseError> {
        match answered {
            Err(error) => Err(rights::explain(&self.database, deadline, role, error).await),
            rows => rows,
        }
    }
}
