//! Sessions with everything that is stored of them, to be taken along.

use serde::Serialize;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::listing::Session;
use super::messages::{Message, not_json};
use super::room::{MAX_PAGE_BYTES, Room};
use super::sessions::Statistics;
use super::statements::EXPORT;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;
use crate::time::{from_microseconds, microseconds};

/// The most sessions of a page.
const MAX_SESSIONS: i64 = 5000;

/// A session as it is exported.
#[derive(Debug, Serialize)]
pub struct ExportedSession {
    /// As it is listed.
    #[serde(flatten)]
    pub session: Session,
    /// Its statistics.
    pub session_stats: Statistics,
}

/// A message as it is exported.
#[derive(Debug, Serialize)]
pub struct ExportedMessage<'a> {
    /// Its session.
    pub session_id: Uuid,
    /// Its position.
    pub seq: i64,
    /// The position of its question, if it is an answer.
    pub reply_to_seq: Option<i64>,
    /// As it is in the history.
    #[serde(flatten)]
    pub message: Message<'a>,
    /// The model that wrote it.
    pub model: Option<&'a str>,
    /// Why the model stopped.
    pub finish_reason: Option<&'a str>,
    /// What the provider counted; `None` for a message of the user.
    pub usage: Option<ExportedUsage>,
    /// How long the model took, in milliseconds.
    pub latency_ms: Option<i32>,
    /// And until its first token.
    pub first_token_ms: Option<i32>,
    /// In a copy, the message that was copied.
    pub origin_message_id: Option<Uuid>,
}

/// Tokens, as far as the provider counted them.
#[derive(Debug, Serialize)]
pub struct ExportedUsage {
    /// Tokens the model read.
    pub input_tokens: Option<i64>,
    /// Those of them that it had read before.
    pub cached_input_tokens: Option<i64>,
    /// Tokens the model wrote.
    pub output_tokens: Option<i64>,
}

/// A part of an export.
#[derive(Debug)]
pub enum Item<'a> {
    /// A session, before its messages.
    Session(&'a ExportedSession),
    /// A message of the session before it.
    Message(&'a ExportedMessage<'a>),
}

/// A line of an export in JSON Lines.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Session {
        #[serde(flatten)]
        session: &'a ExportedSession,
        /// Left out of what callers get.
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: Option<Option<&'a str>>,
    },
    Message(&'a ExportedMessage<'a>),
}

/// Writes a part of an export as a line of JSON. `owner` is that of the session, `None` to leave it out.
///
/// # Errors
/// [`Problem::Internal`] when it cannot be written as JSON.
pub fn json_line(item: &Item<'_>, owner: Option<Option<&str>>) -> Result<String, Problem> {
    let line = match item {
        Item::Session(session) => Line::Session { session, owner },
        Item::Message(message) => Line::Message(message),
    };
    let mut text = serde_json::to_string(&line).map_err(not_json)?;
    text.push('\n');
    Ok(text)
}

/// A place in an export: after a message of a session, or after the session itself if `seq` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the session was opened, in microseconds since 1970.
    pub created_us: i64,
    /// Its id.
    pub session_id: Uuid,
    /// The position of the message.
    pub seq: i64,
}

/// A part of an export.
#[derive(Debug)]
pub struct Page {
    /// What was written, the parts one after the other.
    pub text: String,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Place>,
}

impl Place {
    fn of(row: &Row) -> Result<Self, DatabaseError> {
        let created_at: OffsetDateTime = row.try_get("created_at")?;
        let seq: Option<i64> = row.try_get("seq")?;
        Ok(Self {
            created_us: microseconds(created_at),
            session_id: row.try_get("session_id")?,
            seq: match seq {
                Some(seq) => seq,
                None => row.try_get("done")?,
            },
        })
    }

    /// When the session was opened; `None` if there is no such time.
    fn created_at(self) -> Option<OffsetDateTime> {
        from_microseconds(self.created_us)
    }

    /// Whether an export can have this place.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self.created_at().is_some() && self.seq >= 0
    }
}

impl ExportedSession {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            session: Session::read_with(row, "session_metadata")?,
            session_stats: Statistics::read(row)?,
        })
    }
}

impl<'a> ExportedMessage<'a> {
    /// `None` for the row of a session without messages.
    fn read(row: &'a Row) -> Result<Option<Self>, DatabaseError> {
        let Some(seq) = row.try_get("seq")? else {
            return Ok(None);
        };
        let message = Message::read(row)?;
        let usage = ExportedUsage {
            input_tokens: row.try_get("message_input_tokens")?,
            cached_input_tokens: row.try_get("cached_input_tokens")?,
            output_tokens: row.try_get("message_output_tokens")?,
        };
        Ok(Some(Self {
            session_id: row.try_get("session_id")?,
            seq,
            reply_to_seq: row.try_get("reply_to_seq")?,
            model: row.try_get("model")?,
            finish_reason: row.try_get("finish_reason")?,
            usage: (message.role == "assistant").then_some(usage),
            latency_ms: row.try_get("latency_ms")?,
            first_token_ms: row.try_get("first_token_ms")?,
            origin_message_id: row.try_get("origin_message_id")?,
            message,
        }))
    }
}

/// Exports a page of a caller's sessions, or of one of them: `write` writes each part, as much as fits into
/// an answer. A page may end inside a session.
///
/// # Errors
/// [`Problem::SessionNotFound`] when the one session is not the caller's, or a database problem.
pub async fn page(
    store: &Store,
    caller: &Caller,
    session_id: Option<Uuid>,
    after: Option<Place>,
    write: impl Fn(&Item<'_>) -> Result<String, Problem>,
) -> Result<Page, Problem> {
    let rows = store
        .query_at_length(
            caller,
            EXPORT,
            &[
                (&caller.owner_key(), Type::TEXT),
                (&session_id, Type::UUID),
                (&after.and_then(Place::created_at), Type::TIMESTAMPTZ),
                (&after.map(|after| after.session_id), Type::UUID),
                (&after.map(|after| after.seq), Type::INT8),
                (&MAX_PAGE_BYTES, Type::INT8),
                (&MAX_SESSIONS, Type::INT8),
            ],
        )
        .await?;
    if let (Some(session_id), true) = (session_id, rows.is_empty()) {
        return Err(Problem::SessionNotFound(session_id));
    }

    let (mut text, mut room, mut next) = (String::new(), Room::new(), after);
    let mut begun = after.map(|after| after.session_id);
    for row in &rows {
        let mut part = String::new();
        let id: Uuid = row.try_get("session_id").map_err(DatabaseError::from)?;
        if begun != Some(id) {
            part = write(&Item::Session(&ExportedSession::read(row)?))?;
            begun = Some(id);
        }
        if let Some(message) = ExportedMessage::read(row)? {
            part.push_str(&write(&Item::Message(&message))?);
        }
        if !room.has_place_for(&part) && !text.is_empty() {
            return Ok(Page { text, next });
        }
        text.push_str(&part);
        next = Some(Place::of(row)?);
    }
    let has_more = match rows.last() {
        None => false,
        Some(row) => has_more_after(row)?,
    };
    Ok(Page {
        text,
        next: next.filter(|_| has_more),
    })
}

fn has_more_after(row: &Row) -> Result<bool, DatabaseError> {
    let message_count: i64 = row.try_get("message_count")?;
    let has_more_sessions: bool = row.try_get("has_more_sessions")?;
    Ok(has_more_sessions || Place::of(row)?.seq < message_count)
}
