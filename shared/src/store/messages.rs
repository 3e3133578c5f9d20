//! The table `chat_messages`: the conversations, one row for each message, in the order of `seq`.
//!
//! Rows are only ever added, under the lock on the session's row, which assigns `seq`; reading
//! takes no lock.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::Store;
use super::links::{Linked, Links};
use super::room::{MAX_PAGE_BYTES, Room};
use super::statements::HISTORY;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;
use crate::time::Timestamp;

/// What a user thinks of an answer.
#[derive(Debug, Serialize)]
pub struct Feedback<'a> {
    /// `up` or `down`.
    pub rating: &'a str,
    /// The user's own words.
    pub comment: Option<&'a str>,
}

impl<'a> Feedback<'a> {
    /// `None` if there is none, or it was taken back.
    fn read(row: &'a Row) -> Result<Option<Self>, DatabaseError> {
        let rating: Option<&str> = row.try_get("rating")?;
        let comment = row.try_get("comment")?;
        Ok(rating.map(|rating| Self { rating, comment }))
    }
}

/// A message as the API returns it, borrowed from its row: its JSON is all that is made of it.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// `user` or `assistant`.
    pub role: &'a str,
    /// Its text.
    pub content: &'a str,
    /// Its id.
    pub message_id: Uuid,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// The audio the user sent, or the recordings the assistant recommends.
    pub audio_files: Option<&'a RawValue>,
    /// The calls the model made.
    pub function_calls: Option<&'a RawValue>,
    /// The caller's metadata.
    pub metadata: Option<&'a RawValue>,
    /// What the user thinks of it.
    pub feedback: Option<Feedback<'a>>,
}

impl<'a> Message<'a> {
    pub(super) fn read(row: &'a Row) -> Result<Self, DatabaseError> {
        let json = |column| {
            let value: Option<Json<&RawValue>> = row.try_get(column)?;
            Ok::<_, DatabaseError>(value.map(|Json(value)| value))
        };
        Ok(Self {
            role: row.try_get("role")?,
            content: row.try_get("content")?,
            message_id: row.try_get("message_id")?,
            timestamp: Timestamp(row.try_get("timestamp")?),
            audio_files: json("audio_files")?,
            function_calls: json("function_calls")?,
            metadata: json("metadata")?,
            feedback: Feedback::read(row)?,
        })
    }
}

pub(super) fn not_json(error: serde_json::Error) -> Problem {
    Problem::Internal(Box::new(error))
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
    /// The messages as JSON, in the requested order.
    pub messages: Vec<Box<RawValue>>,
    /// The position of the last of them.
    pub last_seq: Option<i64>,
    /// How many messages the session has.
    pub message_count: i64,
    /// Whether there are more messages in the direction of the page.
    pub has_more: bool,
}

/// Reads a page of a session's messages, with links in place of locations on S3. It ends before it would not fit
/// into an answer.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn history(
    store: &Store,
    links: &Links,
    caller: &Caller,
    session_id: Uuid,
    page: Page,
) -> Result<History, Problem> {
    let rows = store
        .query(
            caller,
            HISTORY,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&page.after, Type::INT8),
                (&page.before, Type::INT8),
                (&page.limit, Type::INT8),
                (&page.descending, Type::BOOL),
                (&MAX_PAGE_BYTES, Type::INT8),
            ],
        )
        .await?;
    let first = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    let message_count: i64 = first
        .try_get("message_count")
        .map_err(DatabaseError::from)?;

    let linked = links.of_rows(caller, &rows).await;
    let (last_seq, messages) = if page.descending {
        those_that_fit(rows.iter().rev(), &linked)?
    } else {
        those_that_fit(rows.iter(), &linked)?
    };
    // `seq` has no gaps, so the last position on the page tells whether more messages follow.
    let has_more = last_seq.is_some_and(|last| {
        if page.descending {
            last > page.after.unwrap_or(0) + 1
        } else {
            last < page
                .before
                .map_or(message_count, |before| message_count.min(before - 1))
        }
    });
    Ok(History {
        messages,
        last_seq,
        message_count,
        has_more,
    })
}

/// The last messages of rows in the order of `seq`, as JSON with links and in that order, without those
/// that would not fit into an answer.
///
/// # Errors
/// A database problem when a row lacks a column; [`Problem::Internal`] when it is no JSON.
pub(super) fn latest_that_fit(
    rows: &[Row],
    linked: &Linked,
) -> Result<Vec<Box<RawValue>>, Problem> {
    let (_, mut latest) = those_that_fit(rows.iter().rev(), linked)?;
    latest.reverse();
    Ok(latest)
}

/// The JSON of the first messages that fit into an answer together, after the position of the last
/// of them; the first message is always among them. A row without a message, which an empty page has,
/// is passed over.
fn those_that_fit<'a>(
    rows: impl Iterator<Item = &'a Row>,
    linked: &Linked,
) -> Result<(Option<i64>, Vec<Box<RawValue>>), Problem> {
    let (mut last_seq, mut messages) = (None, Vec::new());
    let mut room = Room::new();
    for row in rows {
        let seq: Option<i64> = row.try_get("seq").map_err(DatabaseError::from)?;
        let Some(seq) = seq else { continue };
        let message = Message::read(row)?;
        // Measured with its links, which are longer than locations.
        let links = message.audio_files;
        let links = links.and_then(|stored| linked.audio_files(message.role, stored));
        let json = to_raw_value(&Message {
            audio_files: links.as_deref().or(message.audio_files),
            ..message
        });
        let json = json.map_err(not_json)?;
        if !room.has_place_for(json.get()) && !messages.is_empty() {
            break;
        }
        last_seq = Some(seq);
        messages.push(json);
    }
    Ok((last_seq, messages))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::derived::json_bytes;

    #[test]
    fn the_size_of_a_message_is_that_of_its_json() {
        let content = "“Grüße”\n\"\\\u{1}";
        let message = Message {
            role: "assistant",
            content,
            message_id: Uuid::nil(),
            timestamp: Timestamp(time::OffsetDateTime::UNIX_EPOCH),
            audio_files: None,
            function_calls: None,
            metadata: None,
            feedback: None,
        };
        // One more for the comma.
        let size = serde_json::to_vec(&message).unwrap().len() + 1;
        assert_eq!(json_bytes(content).unwrap(), i64::try_from(size).unwrap());
    }
}
