//! The tables `chat_search…`: an index of what was said, which `maintain` fills and callers search.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::statements::{FILL_SEARCH, FORGET_OWNERS, SEARCH, SEARCH_HORIZON};
use crate::caller::Caller;
use crate::database::{DatabaseError, Parameter};
use crate::problem::Problem;
use crate::settings::{self, SettingsError};
use crate::time::{Timestamp, from_microseconds, microseconds};

/// The variable for the text search configuration.
pub const SEARCH_LANGUAGE: &str = "SEARCH_LANGUAGE";

/// Words as they are written, in whatever language.
const DEFAULT_LANGUAGE: &str = "simple";

/// Messages that are taken into the index at a time: for a fraction of a second, which is what is lost when
/// it is interrupted.
const BATCH: i32 = 500;

/// The longest that one statement of the filling may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a transaction that is storing a message is waited for, in seconds.
const WAIT_SECONDS: f64 = 1.0;

/// A message that was found.
#[derive(Debug)]
pub struct Hit {
    /// Where it is among the results.
    pub position: Position,
    /// The title of its session.
    pub title: Option<String>,
    /// Its id.
    pub message_id: Uuid,
    /// `user` or `assistant`.
    pub role: String,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// Its text, as far as it is searched.
    pub content: String,
    /// The words in it that match, where the configuration makes others of them than they are.
    pub words: Option<Vec<String>>,
}

/// A place among results, which are in the order of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the message was stored, in microseconds since 1970.
    pub time_us: i64,
    /// Its session.
    pub session_id: Uuid,
    /// Its place in the session.
    pub seq: i64,
}

/// Which messages to search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only those of this session.
    pub session_id: Option<Uuid>,
    /// Only those of `user` or `assistant`.
    pub role: Option<&'a str>,
    /// Only those from this time on.
    pub from: Option<OffsetDateTime>,
    /// Only those before this time.
    pub to: Option<OffsetDateTime>,
    /// Only those after this place among the results.
    pub after: Option<Position>,
}

/// What filling the index came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// How many messages were taken into it.
    pub messages: i64,
    /// Whether it holds all that were there at the beginning. If not, the time was up, or a transaction that
    /// is storing a message does not end; the next call goes on from there.
    pub is_complete: bool,
}

/// Why the index cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is no such text search configuration.
    #[error(
        "{SEARCH_LANGUAGE} names no text search configuration of this database; \\dF lists them"
    )]
    UnknownLanguage,
    /// A database problem.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Position {
    /// Whether a message can be there.
    #[must_use]
    pub fn is_possible(self) -> bool {
        from_microseconds(self.time_us).is_some()
    }
}

impl Hit {
    /// `None` for the row that stands for no results.
    fn read(row: &Row) -> Result<Option<Self>, DatabaseError> {
        let Some(message_id) = row.try_get("message_id")? else {
            return Ok(None);
        };
        let timestamp: OffsetDateTime = row.try_get("timestamp")?;
        Ok(Some(Self {
            position: Position {
                time_us: microseconds(timestamp),
                session_id: row.try_get("session_id")?,
                seq: row.try_get("seq")?,
            },
            title: row.try_get("title")?,
            message_id,
            role: row.try_get("role")?,
            timestamp: Timestamp(timestamp),
            content: row.try_get("content")?,
            words: row.try_get("words")?,
        }))
    }
}

/// Finds messages of a caller, newest first; at most `limit`, and whether there are more. `query` is in the
/// language of `websearch_to_tsquery`, its words as `chat_search_text_v1` makes them; `beginning` is its last
/// word if that may be the beginning of one.
///
/// # Errors
/// [`Problem::SessionNotFound`], or a database problem.
pub async fn search(
    store: &Store,
    caller: &Caller,
    query: String,
    beginning: Option<&str>,
    filter: Filter<'_>,
    limit: i32,
) -> Result<(Vec<Hit>, bool), Problem> {
    let after = filter.after;
    let rows = store
        .query(
            caller,
            SEARCH,
            &[
                (&caller.owner_key(), Type::TEXT),
                (&filter.session_id, Type::UUID),
                (&query, Type::TEXT),
                (&beginning, Type::TEXT),
                (&filter.role, Type::TEXT),
                (&filter.from, Type::TIMESTAMPTZ),
                (&filter.to, Type::TIMESTAMPTZ),
                (
                    &after.and_then(|after| from_microseconds(after.time_us)),
                    Type::TIMESTAMPTZ,
                ),
                (&after.map(|after| after.session_id), Type::UUID),
                (&after.map(|after| after.seq), Type::INT8),
                // One more tells whether there are more.
                (&(limit + 1), Type::INT4),
            ],
        )
        .await?;
    if let (Some(session_id), []) = (filter.session_id, &rows[..]) {
        return Err(Problem::SessionNotFound(session_id));
    }
    let hits: Result<Vec<_>, _> = rows.iter().map(Hit::read).collect();
    let mut hits: Vec<_> = hits?.into_iter().flatten().collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = hits.len() > limit;
    hits.truncate(limit);
    Ok((hits, has_more))
}

/// Reads the text search configuration.
///
/// # Errors
/// [`SettingsError`] when it cannot be the name of one.
pub fn language(variable: impl Fn(&str) -> Option<String>) -> Result<String, SettingsError> {
    let language = settings::text(variable, SEARCH_LANGUAGE);
    let language = language.unwrap_or_else(|| DEFAULT_LANGUAGE.into());
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if language.len() > 63 || !language.chars().all(is_part) {
        return Err(SettingsError::new(format!(
            "{SEARCH_LANGUAGE} must be the name of a text search configuration, such as english"
        )));
    }
    Ok(language)
}

/// Takes the messages that are there into the index, in short transactions, until `deadline`. It may be
/// interrupted anywhere, repeated, and run twice at once. An import should call it at its end, because
/// imported sessions were used long ago, and only recent ones are searched without the index.
///
/// # Errors
/// [`FillError`].
pub async fn fill(store: &Store, language: &str, deadline: Instant) -> Result<Filled, FillError> {
    let mut filled = Filled {
        messages: 0,
        is_complete: false,
    };
    if Instant::now() >= deadline {
        return Ok(filled);
    }
    // No statement begins after the deadline, but one may end after it.
    let until = deadline + STATEMENT_TIMEOUT;
    let wait: [Parameter<'_>; 1] = [(&WAIT_SECONDS, Type::FLOAT8)];
    let horizon = store.maintain(until, SEARCH_HORIZON, &wait).await?;
    let Some(horizon) = horizon.first() else {
        return Ok(filled);
    };
    let id: i64 = horizon.try_get("id").map_err(DatabaseError::from)?;
    let hour: i32 = horizon.try_get("hour").map_err(DatabaseError::from)?;
    while Instant::now() < deadline {
        let batch = store
            .maintain(
                until,
                FILL_SEARCH,
                &[
                    (&language, Type::TEXT),
                    (&id, Type::INT8),
                    (&hour, Type::INT4),
                    (&BATCH, Type::INT4),
                ],
            )
            .await?;
        let messages: Option<i32> = match batch.first() {
            Some(row) => row.try_get("messages").map_err(DatabaseError::from)?,
            None => None,
        };
        let messages = messages.ok_or(FillError::UnknownLanguage)?;
        filled.messages += i64::from(messages);
        if messages < BATCH {
            forget_owners(store, deadline).await?;
            filled.is_complete = true;
            break;
        }
    }
    Ok(filled)
}

/// Forgets the owners in the index who have no session any more. While messages are being taken into it, nobody
/// is forgotten: whoever does that forgets them at the end.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_owners(store: &Store, deadline: Instant) -> Result<(), DatabaseError> {
    store
        .maintain(deadline + STATEMENT_TIMEOUT, FORGET_OWNERS, &[])
        .await
        .map(|_| ())
}
