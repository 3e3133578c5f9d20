//! The table `chat_erasures`: the record of erasures, and the list of what is still to be erased.
//!
//! A session is erased in three steps, each a statement that can be repeated: it is marked and recorded,
//! so that nothing finds it and its id is never opened again; the rows of its [`PARTS`] are deleted, some
//! at a time; then its own row, which finishes the erasure. Whatever stops this on the way, the next run
//! goes on from there.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::statements::{
    COUNT_SESSIONS, EXPIRE, FINISH_ERASURES, NEXT_ERASURES, PARTS, RECORD_OWNER, Statement,
    UNFINISHED, WAIT_FOR_FILL,
};
use crate::database::{DatabaseError, Parameter};

/// How many recorded sessions are erased together.
const SESSIONS_AT_A_TIME: i64 = 100;

/// The longest that one statement may take. Each deletes few rows, but one may have to look at many.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a session is kept that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// In days since its last use.
    pub days: i32,
    /// Whether pinned sessions are no exception.
    pub includes_pinned: bool,
}

/// How many rows were erased, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Sessions.
    pub sessions: i64,
    /// The rows of their parts.
    #[serde(flatten)]
    pub parts: BTreeMap<&'static str, i64>,
}

impl AddAssign for Erased {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        for (rows, count) in other.parts {
            *self.parts.entry(rows).or_default() += count;
        }
    }
}

/// Which sessions a run is about, and how much it does at a time.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Of one owner, or of any.
    pub owner: Option<&'a str>,
    /// The most rows that a transaction deletes or marks.
    pub rows: i64,
    /// When no further statement may begin.
    pub until: Instant,
}

impl Batch<'_> {
    fn is_over(self) -> bool {
        Instant::now() >= self.until
    }
}

/// What the walk over the sessions found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// How many sessions it marked.
    pub sessions: i64,
    /// The last session it looked at; none at the end of the table.
    pub last_id: Option<i64>,
    /// Whether that was opened too recently to have expired.
    pub reached_recent: bool,
}

/// Whether recorded sessions are still to be erased.
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_unfinished(store: &Store, owner: Option<&str>) -> Result<bool, DatabaseError> {
    let row = only_row(store, UNFINISHED, &[(&owner, Type::TEXT)]).await?;
    Ok(row.try_get("unfinished")?)
}

/// Marks and records the expired sessions among the next ones after `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn expire(
    store: &Store,
    retention: Retention,
    after: i64,
    rows: i64,
) -> Result<Expired, DatabaseError> {
    let parameters: [Parameter<'_>; 4] = [
        (&after, Type::INT8),
        (&rows, Type::INT8),
        (&retention.days, Type::INT4),
        (&retention.includes_pinned, Type::BOOL),
    ];
    let row = only_row(store, EXPIRE, &parameters).await?;
    Ok(Expired {
        sessions: row.try_get("rows")?,
        last_id: row.try_get("last_id")?,
        reached_recent: row.try_get("reached_recent")?,
    })
}

/// Marks and records sessions of an owner; returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn record_owner(store: &Store, owner: &str, rows: i64) -> Result<i64, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&owner, Type::TEXT), (&rows, Type::INT8)];
    count(store, RECORD_OWNER, &parameters).await
}

/// Erases the next recorded sessions, or as much of them as there is time for. Adds to `erased` as it
/// goes, so that the rows before a failure are counted. Returns whether it found something to do.
///
/// # Errors
/// [`DatabaseError`].
pub async fn erase_next(
    store: &Store,
    batch: Batch<'_>,
    erased: &mut Erased,
) -> Result<bool, DatabaseError> {
    let next = only_row(
        store,
        NEXT_ERASURES,
        &[
            (&SESSIONS_AT_A_TIME, Type::INT8),
            (&batch.owner, Type::TEXT),
        ],
    )
    .await?;
    let session_ids: Vec<Uuid> = next.try_get("session_ids")?;
    let of_next: [Parameter<'_>; 1] = [(&session_ids, Type::UUID_ARRAY)];
    let some_of_next = [&of_next[..], &[(&batch.rows, Type::INT8)]].concat();

    let mut found = next.try_get::<_, i64>("hidden")? > 0;
    // A session that is marked after this is not among the next ones, and has its turn in another round.
    count(store, WAIT_FOR_FILL, &[]).await?;
    for part in PARTS {
        loop {
            if batch.is_over() {
                return Ok(found);
            }
            let rows = count(store, part.erase, &some_of_next).await?;
            *erased.parts.entry(part.rows).or_default() += rows;
            found |= rows > 0;
            if rows < batch.rows {
                break;
            }
        }
    }
    let row = only_row(store, FINISH_ERASURES, &of_next).await?;
    erased.sessions += row.try_get::<_, i64>("rows")?;
    Ok(found || row.try_get::<_, i64>("finished")? > 0)
}

/// Counts what an owner has.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count_owner(store: &Store, owner: &str) -> Result<Erased, DatabaseError> {
    let parameters: [Parameter<'_>; 1] = [(&owner, Type::TEXT)];
    let mut counted = Erased {
        sessions: count(store, COUNT_SESSIONS, &parameters).await?,
        parts: BTreeMap::new(),
    };
    for part in PARTS {
        let rows = count(store, part.count, &parameters).await?;
        counted.parts.insert(part.rows, rows);
    }
    Ok(counted)
}

async fn count(
    store: &Store,
    statement: Statement,
    parameters: &[Parameter<'_>],
) -> Result<i64, DatabaseError> {
    Ok(only_row(store, statement, parameters)
        .await?
        .try_get("rows")?)
}

/// The row of a statement that always returns one.
async fn only_row(
    store: &Store,
    statement: Statement,
    parameters: &[Parameter<'_>],
) -> Result<Row, DatabaseError> {
    let deadline = Instant::now() + STATEMENT_TIMEOUT;
    let rows = store.maintain(deadline, statement, parameters).await?;
    let row = rows.into_iter().next();
    row.ok_or_else(|| DatabaseError::unexpected("no row of a statement of maintain"))
}
