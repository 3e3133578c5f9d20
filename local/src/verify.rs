//! `verify`: checks on the data itself that nothing was lost, doubled or put out of order.

use shared::database::{Connection, DatabaseConfig, DatabaseError};
use uuid::Uuid;

use crate::LocalError;
use crate::database::LocalDatabase;
use crate::progress::shown;

/// Gives a row for each violation.
const INVARIANTS: &str = include_str!("invariants.sql");

/// What does not hold in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The session at fault.
    pub session_id: Uuid,
    /// Which invariant: `order`, `counters`, `answers`, `times`, `lease` or `copies`.
    pub invariant: String,
    /// What there is instead; numbers and times, no content.
    pub detail: String,
}

/// Everything in a database that does not hold.
///
/// # Errors
/// [`DatabaseError`].
pub async fn violations(config: &DatabaseConfig) -> Result<Vec<Violation>, DatabaseError> {
    let connection = Connection::open(config).await?;
    let rows = connection.client().query_typed(INVARIANTS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Violation {
                session_id: row.try_get("session_id")?,
                invariant: row.try_get("invariant")?,
                detail: row.try_get("detail")?,
            })
        })
        .collect()
}

/// Checks the database of a local run.
pub(crate) async fn verify() -> Result<(), LocalError> {
    let database = LocalDatabase::open().await?;
    println!("database  {}", database.description);
    let found = shown("verifying every session", violations(&database.config)).await;
    database.close().await;

    let found = found.map_err(|error| LocalError::new(format!("cannot verify: {error}")))?;
    for Violation {
        session_id,
        invariant,
        detail,
    } in &found
    {
        println!("session   {session_id}  {invariant}: {detail}");
    }
    if found.is_empty() {
        println!("verified  every session is whole");
        return Ok(());
    }
    Err(LocalError::new(format!(
        "{} violations; the sessions are named above",
        found.len()
    )))
}
