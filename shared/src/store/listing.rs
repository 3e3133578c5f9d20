//! Sessions as their owner sees them in a list: found, changed and erased.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::Store;
use super::sessions::state;
use super::statements::{CHANGE_SESSION, ERASE_SESSION, FIND_SESSION, LIST_SESSIONS};
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::ids::new_id;
use crate::problem::Problem;
use crate::time::{Timestamp, from_microseconds, microseconds};

/// A session in a list.
#[derive(Debug, Serialize)]
pub struct Session {
    /// Its id.
    pub session_id: Uuid,
    /// The caller's title, else the beginning of the first question.
    pub title: Option<String>,
    /// `new_session`, `active` or `inactive`.
    pub status: &'static str,
    /// Whether the caller keeps it at hand.
    pub pinned: bool,
    /// Whether the caller put it away.
    pub archived: bool,
    /// The caller's metadata.
    pub metadata: Option<Box<RawValue>>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The time of the last message.
    pub last_message_time: Option<Timestamp>,
    /// The number of its messages.
    pub message_count: i64,
    /// What it is a copy of.
    pub forked_from: Option<Origin>,
    /// Where it is in the list; `None` before its first message.
    #[serde(skip)]
    pub position: Option<Position>,
}

/// The message up to which a copy was made.
#[derive(Debug, Serialize)]
pub struct Origin {
    /// Its session.
    pub session_id: Uuid,
    /// Its id.
    pub message_id: Uuid,
}

/// A place in a list of sessions, which is in the order of last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the session was last used, in microseconds since 1970.
    pub last_used_us: i64,
    /// Its id.
    pub session_id: Uuid,
}

/// Which sessions to list.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Archived ones, others, or both.
    pub archived: Archived,
    /// Only pinned ones.
    pub pinned: bool,
}

/// Whether to list archived sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archived {
    /// Leave them out.
    False,
    /// List only them.
    True,
    /// List them among the others.
    All,
}

/// What a caller changes in a session.
#[derive(Debug, Default)]
pub struct Change {
    /// The title; `Some(None)` for the automatic one.
    pub title: Option<Option<String>>,
    /// Whether it is pinned.
    pub pinned: Option<bool>,
    /// Whether it is archived.
    pub archived: Option<bool>,
    /// The metadata, which replaces all there was; `Some(None)` for none.
    pub metadata: Option<Option<Value>>,
}

impl Session {
    /// Reads a row of its columns.
    pub(super) fn read(row: &Row) -> Result<Self, DatabaseError> {
        Self::read_with(row, "metadata")
    }

    /// Reads a row in which its metadata has another name.
    pub(super) fn read_with(row: &Row, metadata: &str) -> Result<Self, DatabaseError> {
        let session_id = row.try_get("session_id")?;
        let message_count = row.try_get("message_count")?;
        let metadata: Option<Json<Box<RawValue>>> = row.try_get(metadata)?;
        let last_message_time: Option<OffsetDateTime> = row.try_get("last_message_time")?;
        let last_used_at: Option<OffsetDateTime> = row.try_get("last_used_at")?;
        let origin: (Option<Uuid>, Option<Uuid>) = (
            row.try_get("forked_from_session_id")?,
            row.try_get("forked_from_message_id")?,
        );
        Ok(Self {
            session_id,
            title: row.try_get("title")?,
            status: state(row.try_get("is_active")?, message_count),
            pinned: row.try_get("is_pinned")?,
            archived: row.try_get("is_archived")?,
            metadata: metadata.map(|Json(metadata)| metadata),
            created_at: Timestamp(row.try_get("created_at")?),
            updated_at: Timestamp(row.try_get("updated_at")?),
            last_message_time: last_message_time.map(Timestamp),
            message_count,
            forked_from: match origin {
                (Some(session_id), Some(message_id)) => Some(Origin {
                    session_id,
                    message_id,
                }),
                _ => None,
            },
            position: last_used_at.map(|time| Position {
                last_used_us: microseconds(time),
                session_id,
            }),
        })
    }
}

impl Position {
    /// The hour of last use, as in the table.
    fn hour(self) -> i32 {
        const HOUR: i64 = 3_600_000_000;
        let hour = self.last_used_us.div_euclid(HOUR);
        // Fits for all times that PostgreSQL has.
        i32::try_from(hour).unwrap_or(i32::MAX)
    }

    /// The time of last use; `None` if there is no such time.
    fn time(self) -> Option<OffsetDateTime> {
        from_microseconds(self.last_used_us)
    }

    /// Whether a session can have this position.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self.time().is_some()
    }
}

/// Lists the sessions of a caller that have a message, the one used last first; at most `limit`, and
/// whether there are more. A page begins after the position `after`.
///
/// # Errors
/// A database problem.
pub async fn list(
    store: &Store,
    caller: &Caller,
    filter: Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<(Vec<Session>, bool), Problem> {
    let archived = match filter.archived {
        Archived::False => "false",
        Archived::True => "true",
        Archived::All => "all",
    };
    let rows = store
        .query(
            caller,
            LIST_SESSIONS,
            &[
                (&caller.owner_key(), Type::TEXT),
                (&archived, Type::TEXT),
                (&filter.pinned, Type::BOOL),
                (&after.map(Position::hour), Type::INT4),
                (&after.and_then(Position::time), Type::TIMESTAMPTZ),
                (&after.map(|after| after.session_id), Type::UUID),
                // One more tells whether there are more.
                (&(limit + 1), Type::INT8),
            ],
        )
        .await?;
    let sessions: Result<Vec<_>, _> = rows.iter().map(Session::read).collect();
    let mut sessions = sessions?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = sessions.len() > limit;
    sessions.truncate(limit);
    Ok((sessions, has_more))
}

/// Finds a session.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn find(store: &Store, caller: &Caller, session_id: Uuid) -> Result<Session, Problem> {
    let rows = store
        .query(
            caller,
            FIND_SESSION,
            &[(&session_id, Type::UUID), (&caller.owner_key(), Type::TEXT)],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    Ok(Session::read(row)?)
}

/// Changes a session; what is left out stays.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn change(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    change: &Change,
) -> Result<Session, Problem> {
    let metadata = change.metadata.as_ref().and_then(Option::as_ref).map(Json);
    let rows = store
        .query(
            caller,
            CHANGE_SESSION,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&change.title.is_some(), Type::BOOL),
                (&change.title.as_ref().and_then(Option::as_ref), Type::TEXT),
                (&change.pinned, Type::BOOL),
                (&change.archived, Type::BOOL),
                (&change.metadata.is_some(), Type::BOOL),
                (&metadata, Type::JSONB),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    Ok(Session::read(row)?)
}

/// Erases a session for good; returns how many messages it had.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn erase(store: &Store, caller: &Caller, session_id: Uuid) -> Result<i64, Problem> {
    let rows = store
        .query(
            caller,
            ERASE_SESSION,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&new_id(), Type::UUID),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    Ok(row.try_get("message_count").map_err(DatabaseError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_position_has_the_hour_of_its_time() {
        for (time, hour) in [
            (datetime!(1970-01-01 00:59:59.999999 UTC), 0),
            (datetime!(1969-12-31 23:59:59.999999 UTC), -1),
            (datetime!(2026-01-01 00:00 UTC), 490_896),
        ] {
            let position = Position {
                last_used_us: microseconds(time),
                session_id: Uuid::nil(),
            };
            assert_eq!((position.hour(), position.time()), (hour, Some(time)));
        }
    }
}
