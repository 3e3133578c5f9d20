//! `verify`: checks the stored data for anything lost, duplicated or out of order.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use shared::database::{Connection, DatabaseConfig, DatabaseError};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::progress::shown;

/// Returns a row for each violation.
const INVARIANTS: &str = include_str!("invariants.sql");

/// How many sessions are named for each kind of violation, unless all are requested.
const NAMED: i64 = 5;

/// An invariant that does not hold in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The session; all zeros for `words`, which is about the catalogue of recordings.
    pub session_id: Uuid,
    /// Which invariant: `order`, `counters`, `answers`, `sizes`, `times`, `lease`, `copies`, `erased` or `words`.
    pub invariant: String,
    /// The actual values: numbers and times, no content.
    pub detail: String,
}

/// The violations of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    violations: i64,
    sessions: i64,
    named: i64,
}

impl Violation {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            session_id: row.try_get("session_id")?,
            invariant: row.try_get("invariant")?,
            detail: row.try_get("detail")?,
        })
    }
}

/// All violations in a database.
///
/// # Errors
/// [`DatabaseError`].
pub async fn violations(config: &DatabaseConfig) -> Result<Vec<Violation>, DatabaseError> {
    let connection = Connection::open(config).await?;
    let rows = connection.client().query_typed(INVARIANTS, &[]).await?;
    rows.iter().map(Violation::read).collect()
}

/// Checks the database of a local run, and names some or all sessions for each kind of violation.
pub(crate) async fn verify(all: bool) -> Result<(), LocalError> {
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let named = if all { i64::MAX } else { NAMED };
    let found = shown("verifying every session", print(&database.config, named)).await;
    database.close().await;

    let found = found.map_err(|error| LocalError::new(format!("cannot verify: {error}")))?;
    if found.is_empty() {
        println!("verified  every session is whole");
        return Ok(());
    }
    for (invariant, count) in &found {
        let Count {
            violations,
            sessions,
            named,
        } = count;
        println!("found     {invariant}: {violations} violations in {sessions} sessions");
        if named < violations {
            println!("          {named} are named above; `verify --all` names all of them");
        }
    }
    let violations: i64 = found.values().map(|count| count.violations).sum();
    Err(LocalError::new(format!(
        "{violations} violations; the sessions are named above"
    )))
}

/// Prints up to `named` violations of each kind, in different sessions if possible; counts all of them.
async fn print(
    config: &DatabaseConfig,
    named: i64,
) -> Result<BTreeMap<String, Count>, DatabaseError> {
    let statement = format!(
        "with found as ({INVARIANTS}),
        in_session as (
            select *, row_number() over (partition by invariant, session_id order by detail) as nth
            from found
        ),
        placed as (
            select
                *,
                row_number() over (partition by invariant order by nth, session_id) as place,
                count(*) over (partition by invariant) as violations,
                count(*) filter (where nth = 1) over (partition by invariant) as sessions
            from in_session
        )
        select * from placed where place <= $1 order by invariant, session_id, nth"
    );
    let connection = Connection::open(config).await?;
    let rows = connection
        .client()
        .query_typed_raw(&statement, [(named, Type::INT8)])
        .await?;
    let mut rows = pin!(rows);
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let Violation {
            session_id,
            invariant,
            detail,
        } = Violation::read(&row)?;
        println!("session   {session_id}  {invariant}: {detail}");
        let count = counts.entry(invariant).or_insert(Count {
            violations: row.try_get("violations")?,
            sessions: row.try_get("sessions")?,
            named: 0,
        });
        count.named += 1;
    }
    Ok(counts)
}
