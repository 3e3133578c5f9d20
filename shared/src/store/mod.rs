//! The statements that requests run, one module for each table. Every statement takes the caller's
//! owner, so that another owner's session does not exist for it.

pub mod messages;
pub mod rights;
pub mod sessions;
pub mod turns;

use tokio_postgres::Row;

use crate::caller::Caller;
use crate::database::{Database, DatabaseError, Parameter};

/// Runs one statement in one round trip. If it fails and rights may be missing, the error names
/// them.
///
/// # Errors
/// [`DatabaseError`].
async fn query(
    database: &Database,
    caller: &Caller,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, DatabaseError> {
    let answered = database.query(caller.deadline, statement, parameters).await;
    explained(database, caller, answered).await
}

/// Like [`query`], for a statement whose work grows with the session.
///
/// # Errors
/// [`DatabaseError`].
async fn query_at_length(
    database: &Database,
    caller: &Caller,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, DatabaseError> {
    let answered = database
        .query_at_length(caller.deadline, statement, parameters)
        .await;
    explained(database, caller, answered).await
}

async fn explained(
    database: &Database,
    caller: &Caller,
    answered: Result<Vec<Row>, DatabaseError>,
) -> Result<Vec<Row>, DatabaseError> {
    match answered {
        Err(error) => Err(rights::explain(database, caller.deadline, error).await),
        rows => rows,
    }
}
