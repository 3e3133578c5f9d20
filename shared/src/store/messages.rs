//! The table `chat_messages`: the conversations, one row for each message, in the order of `seq`.
//!
//! Rows are only ever added, under the lock on the session's row, which assigns `seq`; reading
//! takes no lock.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;
use crate::time::Timestamp;

/// The most messages that fit into a page of [`MAX_PAGE_BYTES`]; each takes at least 180 bytes.
const MAX_PAGE_MESSAGES: i64 = 28_000;

/// The longest page, in bytes of JSON. Lambda's own limit for an answer is 6 MB.
const MAX_PAGE_BYTES: usize = 5_000_000;

/// The longest page as Lambda carries it: JSON inside a JSON string, in which each quotation mark
/// and backslash takes two bytes. Kept below Lambda's limit of 6,291,556 bytes.
const MAX_CARRIED_BYTES: usize = 6_000_000;

/// The size of an answer without its messages, in bytes.
const ENVELOPE_BYTES: usize = 300;

/// Bytes after which the database stops measuring. `jsonb` is written with a space after every
/// comma and colon, so it is up to half as long again as the JSON made from it.
const MAX_MEASURED_BYTES: i64 = 7_500_000;

static HISTORY_ASCENDING: LazyLock<String> = LazyLock::new(|| {
    include_str!("sql/history.sql")
        .replace("{order}", "asc")
        .replace(
            "{in_measured_chunks}",
            "m.seq <= session.low + 32 * measured.chunks",
        )
        .replace(
            "{in_next_chunk}",
            "m.seq > session.low + 32 * measured.chunks
             and m.seq <= session.low + 32 * (measured.chunks + 1)",
        )
});
static HISTORY_DESCENDING: LazyLock<String> = LazyLock::new(|| {
    include_str!("sql/history.sql")
        .replace("{order}", "desc")
        .replace(
            "{in_measured_chunks}",
            "m.seq >= session.high - 32 * measured.chunks",
        )
        .replace(
            "{in_next_chunk}",
            "m.seq < session.high - 32 * measured.chunks
             and m.seq >= session.high - 32 * (measured.chunks + 1)",
        )
});

/// A message as the API returns it.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
    /// Its id.
    pub message_id: Uuid,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// The audio the user sent, or the recordings the assistant recommends.
    pub audio_files: Option<Value>,
    /// The calls the model made.
    pub function_calls: Option<Value>,
    /// The caller's metadata.
    pub metadata: Option<Value>,
    /// Its position in the session, from 1.
    #[serde(skip)]
    pub seq: i64,
}

impl Message {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            role: row.try_get("role")?,
            content: row.try_get("content")?,
            message_id: row.try_get("message_id")?,
            timestamp: Timestamp(row.try_get("timestamp")?),
            audio_files: row.try_get("audio_files")?,
            function_calls: row.try_get("function_calls")?,
            metadata: row.try_get("metadata")?,
            seq: row.try_get("seq")?,
        })
    }
}

/// Which messages to return, and in which order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    /// Only messages with a greater `seq`.
    pub after: Option<i64>,
    /// Only messages with a smaller `seq`.
    pub before: Option<i64>,
    /// The maximum number of messages; if unset, as many as fit.
    pub limit: Option<i64>,
    /// Whether the latest message comes first.
    pub descending: bool,
}

/// A part of a session's messages.
#[derive(Debug)]
pub struct History {
    /// The messages, in the requested order.
    pub messages: Vec<Message>,
    /// How many messages the session has.
    pub message_count: i64,
    /// Whether there are more messages in the direction of the page.
    pub has_more: bool,
}

/// Reads a page of a session's messages.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn history(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    page: Page,
) -> Result<History, Problem> {
    let after = page.after.unwrap_or(0);
    let before = page.before.unwrap_or(i64::MAX);
    let limit = page.limit.unwrap_or(MAX_PAGE_MESSAGES);
    let statement = if page.descending {
        &HISTORY_DESCENDING
    } else {
        &HISTORY_ASCENDING
    };
    let rows = store
        .query(
            caller,
            statement,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&after, Type::INT8),
                (&before, Type::INT8),
                (&limit, Type::INT8),
                (&MAX_MEASURED_BYTES, Type::INT8),
            ],
        )
        .await?;

    let first = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    let message_count: i64 = first
        .try_get("message_count")
        .map_err(DatabaseError::from)?;
    let messages = cut_to_size(read_all(&rows)?)?;

    // `seq` has no gaps, so the last position on the page tells whether more messages follow.
    let has_more = messages.last().is_some_and(|last| {
        if page.descending {
            last.seq > after + 1
        } else {
            last.seq < message_count.min(before - 1)
        }
    });
    Ok(History {
        messages,
        message_count,
        has_more,
    })
}

/// Reads the messages of rows, without the row that an outer join returns for no message.
///
/// # Errors
/// [`DatabaseError`] when a row lacks a column.
pub(super) fn read_all(rows: &[Row]) -> Result<Vec<Message>, DatabaseError> {
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        let seq: Option<i64> = row.try_get("seq")?;
        if seq.is_some() {
            messages.push(Message::read(row)?);
        }
    }
    Ok(messages)
}

/// Drops the earliest messages if they would not all fit into an answer.
///
/// # Errors
/// [`Problem::Internal`] when a message cannot be written as JSON.
pub(super) fn latest_that_fit(mut messages: Vec<Message>) -> Result<Vec<Message>, Problem> {
    messages.reverse();
    let mut latest = cut_to_size(messages)?;
    latest.reverse();
    Ok(latest)
}

/// Ends the page before its JSON exceeds the limit; the first message is always on it.
fn cut_to_size(mut messages: Vec<Message>) -> Result<Vec<Message>, Problem> {
    let (mut bytes, mut carried_bytes) = (ENVELOPE_BYTES, ENVELOPE_BYTES);
    for (index, message) in messages.iter().enumerate() {
        let json =
            serde_json::to_vec(message).map_err(|error| Problem::Internal(Box::new(error)))?;
        // One more for the comma.
        bytes += json.len() + 1;
        let escaped = json.iter().filter(|byte| b"\"\\".contains(byte)).count();
        carried_bytes += json.len() + 1 + escaped;
        if (bytes > MAX_PAGE_BYTES || carried_bytes > MAX_CARRIED_BYTES) && index > 0 {
            messages.truncate(index);
            break;
        }
    }
    Ok(messages)
}
