//! The table `chat_sessions`: one row for each conversation, with its counters and its turn lease.
//!
//! Every write to a session locks its row for the duration of one statement, so writers of one
//! session wait for each other and those of different sessions do not.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::links::Links;
use super::messages::latest_that_fit;
use super::room::MAX_PAGE_BYTES;
use super::statements::{FORK, OPEN, RESET, RESUME, SERVICE_STATUS, STATUS};
use crate::caller::Caller;
use crate::database::{DatabaseError, Parameter};
use crate::problem::Problem;
use crate::time::Timestamp;

/// The longest copy, in messages. A copy is made by one statement, which takes about 2 s for this
/// many short messages.
const MAX_COPIED_MESSAGES: i64 = 100_000;

/// The largest copy, in bytes of JSON, so that a short request cannot fill the disk.
const MAX_COPIED_BYTES: i64 = 64 * 1024 * 1024;

/// How many messages [`resume`] and [`fork`] return.
const RECENT_MESSAGES: i64 = 10;

/// The statistics of a session.
#[derive(Debug, Serialize)]
pub struct Statistics {
    /// Its id.
    pub session_id: Uuid,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last used.
    pub updated_at: Timestamp,
    /// Whether it takes turns; false after a reset.
    pub is_active: bool,
    /// The number of all its messages.
    pub message_count: i64,
    /// The number of the user's messages.
    pub user_messages: i64,
    /// The number of the assistant's messages.
    pub assistant_messages: i64,
    /// The time of the first message.
    pub first_message_time: Option<Timestamp>,
    /// The time of the last message.
    pub last_message_time: Option<Timestamp>,
    /// From the first message to the last, in seconds.
    pub duration_seconds: f64,
    /// The number of recordings the assistant recommended.
    pub audio_files_provided: i64,
    /// The number of tokens the models read.
    pub input_tokens: i64,
    /// The number of tokens the models wrote.
    pub output_tokens: i64,
}

impl Statistics {
    pub(super) fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            session_id: row.try_get("session_id")?,
            created_at: Timestamp(row.try_get("created_at")?),
            updated_at: Timestamp(row.try_get("updated_at")?),
            is_active: row.try_get("is_active")?,
            message_count: row.try_get("message_count")?,
            user_messages: row.try_get("user_messages")?,
            assistant_messages: row.try_get("assistant_messages")?,
            first_message_time: row
                .try_get::<_, Option<_>>("first_message_time")?
                .map(Timestamp),
            last_message_time: row
                .try_get::<_, Option<_>>("last_message_time")?
                .map(Timestamp),
            duration_seconds: row.try_get("duration_seconds")?,
            audio_files_provided: row.try_get("audio_files_provided")?,
            input_tokens: row.try_get("input_tokens")?,
            output_tokens: row.try_get("output_tokens")?,
        })
    }
}

/// The state of a session, in the API's words.
#[must_use]
pub fn state(is_active: bool, message_count: i64) -> &'static str {
    match (is_active, message_count) {
        (false, _) => "inactive",
        (true, 0) => "new_session",
        (true, _) => "active",
    }
}

/// The end of the history of a session that continues.
#[derive(Debug)]
pub struct Resumed {
    /// How many messages it has.
    pub message_count: i64,
    /// The last of them as JSON with links, oldest first; fewer if they would not fit into an answer.
    pub recent: Vec<Box<RawValue>>,
}

/// Reads the statistics of a session.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn statistics(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
) -> Result<Statistics, Problem> {
    let parameters: [Parameter<'_>; 2] =
        [(&session_id, Type::UUID), (&caller.owner_key(), Type::TEXT)];
    let rows = store.query(caller, STATUS, &parameters).await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    Ok(Statistics::read(row)?)
}

/// Checks that the database can be used by touching each table; returns the schema's version.
///
/// # Errors
/// A database problem: finding one is the purpose.
pub async fn schema_version(store: &Store, caller: &Caller) -> Result<i32, Problem> {
    let rows = store.query(caller, SERVICE_STATUS, &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| DatabaseError::unexpected("no row of service state"))?;
    let version: Option<i32> = row.try_get("schema_version").map_err(DatabaseError::from)?;
    Ok(version.unwrap_or(0))
}

/// Opens an empty session.
///
/// # Errors
/// A database problem.
pub async fn open(store: &Store, caller: &Caller, session_id: Uuid) -> Result<(), Problem> {
    let parameters: [Parameter<'_>; 2] =
        [(&session_id, Type::UUID), (&caller.owner_key(), Type::TEXT)];
    store.query(caller, OPEN, &parameters).await?;
    Ok(())
}

/// Closes a session, keeps its record, and opens another.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn reset(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    new_session_id: Uuid,
) -> Result<(), Problem> {
    let parameters: [Parameter<'_>; 3] = [
        (&session_id, Type::UUID),
        (&caller.owner_key(), Type::TEXT),
        (&new_session_id, Type::UUID),
    ];
    let rows = store.query(caller, RESET, &parameters).await?;
    rows.first()
        .map(|_| ())
        .ok_or(Problem::SessionNotFound(session_id))
}

/// Resumes a session: it takes turns again if it was reset.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn resume(
    store: &Store,
    links: &Links,
    caller: &Caller,
    session_id: Uuid,
) -> Result<Resumed, Problem> {
    let rows = store
        .query(
            caller,
            RESUME,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&RECENT_MESSAGES, Type::INT8),
                (&MAX_PAGE_BYTES, Type::INT8),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    let message_count = row.try_get("message_count").map_err(DatabaseError::from)?;
    Ok(Resumed {
        message_count,
        recent: latest_that_fit(&rows, &links.of_rows(caller, &rows).await)?,
    })
}

/// Opens `new_session_id` as a copy of a session up to and including a message.
///
/// # Errors
/// [`Problem::SessionNotFound`], [`Problem::MessageNotFound`], [`Problem::InvalidRequest`] for a copy
/// that would be too long, or a database problem.
pub async fn fork(
    store: &Store,
    links: &Links,
    caller: &Caller,
    session_id: Uuid,
    message_id: Uuid,
    new_session_id: Uuid,
) -> Result<Resumed, Problem> {
    let rows = store
        .query_at_length(
            caller,
            FORK,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&message_id, Type::UUID),
                (&new_session_id, Type::UUID),
                (&RECENT_MESSAGES, Type::INT8),
                (&MAX_COPIED_MESSAGES, Type::INT8),
                (&MAX_COPIED_BYTES, Type::INT8),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    let message_count: Option<i64> = row.try_get("message_count").map_err(DatabaseError::from)?;
    let message_count = message_count.ok_or(Problem::MessageNotFound(message_id))?;
    if message_count > MAX_COPIED_MESSAGES {
        return Err(Problem::InvalidRequest(format!(
            "`at` is message {message_count} of the session; a copy can hold at most {MAX_COPIED_MESSAGES}"
        )));
    }
    let bytes: i64 = row.try_get("bytes").map_err(DatabaseError::from)?;
    if bytes > MAX_COPIED_BYTES {
        return Err(Problem::InvalidRequest(format!(
            "the messages up to `at` take {bytes} bytes; a copy can hold at most {MAX_COPIED_BYTES}"
        )));
    }
    Ok(Resumed {
        message_count,
        recent: latest_that_fit(&rows, &links.of_rows(caller, &rows).await)?,
    })
}
